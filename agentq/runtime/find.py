"""The ``Engine`` of a Celery app."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from celery import Celery

from agentq.exceptions import ConfigurationError

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


def engine_of(app: Celery) -> Engine:
    """Return the app's engine, which is its ``AgentQ``; raises ConfigurationError where it has none."""
    found = getattr(app, "agentq", None)
    if found is None:
        raise ConfigurationError(
            f"the Celery app {app.main!r} has no AgentQ; write AgentQ(app) where the app is made, and import "
            "that module before steps are started"
        )
    return cast("Engine", found)
