"""The ``AgentQ`` of a Celery app."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from celery import Celery

from agentq.exceptions import ConfigurationError

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ


def agentq_of(app: Celery) -> AgentQ:
    """Return the app's ``AgentQ``; raises ConfigurationError where it has none."""
    found = getattr(app, "agentq", None)
    if found is None:
        raise ConfigurationError(
            f"the Celery app {app.main!r} has no AgentQ; write AgentQ(app) where the app is made, and import "
            "that module before steps are started"
        )
    return cast("AgentQ", found)
