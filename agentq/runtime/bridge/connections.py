"""The connections of an app to its broker: a private broker where none is configured, and answers in time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agentq.runtime.bridge import configuration

if TYPE_CHECKING:
    from celery import Celery

    from agentq.runtime.engine import Engine

_Connect = Callable[..., Any]


def adapt(engine: Engine) -> None:
    """Let the app use the private broker where no broker is configured, and bound its waits for an answer."""
    app = engine.app

    def use_embedded_broker(**_: Any) -> None:
        if not (app.conf.broker_url or os.environ.get("CELERY_BROKER_URL")):
            app.conf.broker_url = engine.embedded.broker_url

    app.on_after_configure.connect(use_embedded_broker, weak=False)
    app.connection_for_read = _started_first(engine, app.connection_for_read)
    app.connection_for_write = _answering_in_time(app, _started_first(engine, app.connection_for_write))


def _started_first(engine: Engine, connect: _Connect) -> _Connect:
    """Return *connect*, which first starts the private broker where that is used."""

    def connect_to_running(*args: Any, **kwargs: Any) -> Any:
        if engine.app.conf.broker_url == engine.embedded.broker_url:
            engine.embedded.start()
        return connect(*args, **kwargs)

    return connect_to_running


def _answering_in_time(app: Celery, connect: _Connect) -> _Connect:
    """Return *connect* with time limits: Redis's client has none for a server that takes connections only."""

    def connect_with_timeouts(*args: Any, transport_options: Any = None, **kwargs: Any) -> Any:
        options = {**configuration.broker_timeouts(app.conf), **(transport_options or {})}
        return connect(*args, transport_options=options, **kwargs)

    return connect_with_timeouts
