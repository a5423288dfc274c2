"""An app on a private broker and ledger, in a test and in the worker that the test starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agentq.embedded import Embedded
from agentq.ledger.db.session import Ledger
from agentq.runtime.app import AgentQ
from agentq.testing.swaps import replaced

_OPTIONS: dict[str, Any] = {"broker_use_ssl": False, "broker_transport_options": {}}
"""The options for a connection to a server on a socket of its own."""


@contextmanager
def private(agentq: AgentQ, folder: Path) -> Iterator[None]:
    """Let an app use the private broker and the SQLite ledger of *folder*, whatever it is configured to use."""
    embedded = Embedded(folder)
    settings = agentq.settings.model_copy(update={"ledger": None, "folder": folder})
    ledger = Ledger(
        embedded.ledger_url, timeout=settings.ledger_timeout, publish=agentq.publish, naming=agentq.naming
    )
    own = {"settings": settings, "embedded": embedded, "ledger": ledger, "_ready_in": None}
    try:
        with replaced(agentq, **own), _connected_to(agentq.app, embedded.broker_url):
            yield
    finally:
        ledger.close()
        embedded.stop()


@contextmanager
def _connected_to(app: Any, url: str) -> Iterator[None]:
    # Celery lets these variables outweigh what an app was made with.
    variables = dict.fromkeys([f"CELERY_BROKER{which}_URL" for which in ("", "_READ", "_WRITE")], url)
    before = {name: app.conf[name] for name in _OPTIONS}
    with patch.dict(os.environ, variables):
        app.conf.update(_OPTIONS)
        _forget_connections(app)
        try:
            yield
        finally:
            app.pool.force_close_all()
            app.conf.update(before)
            _forget_connections(app)


def _forget_connections(app: Any) -> None:
    """Let the app connect anew, as it does after a fork."""
    app._pool = app.amqp._producer_pool = None
