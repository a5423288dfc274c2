"""The test's side: an app with agentq that starts workflows on a broker and a ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, _state

from agentq import AgentQ
from tests.support.services import Broker


@contextmanager
def client(broker: Broker, ledger_url: str, **settings: Any) -> Iterator[AgentQ]:
    """An app's AgentQ, the current one inside the ``with``, so ``step.delay`` and ``agentq.start`` use it."""
    before = _state._tls.current_app
    app = Celery("client", broker=broker.url)
    app.conf.task_default_queue = broker.queue
    agentq = AgentQ(app, ledger=ledger_url, **settings)
    try:
        yield agentq
    finally:
        agentq.ledger.close()
        app.close()
        _state._set_current_app(before)
