"""agentq: durable agent workflows on the Celery you already run.

Celery runs the work; the ledger remembers it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentq.exceptions import Bury, Cancel, Retry
    from agentq.policies import Policy, rule
    from agentq.runtime.app import AgentQ
    from agentq.runtime.current import (
        astart,
        astart_many,
        aworkflow,
        current,
        start,
        start_many,
        workflow,
    )
    from agentq.runtime.dead_letters import on_dead_letter
    from agentq.runtime.workflow import Workflow
    from agentq.workflows.context import Context
    from agentq.workflows.each import each
    from agentq.workflows.step import Step, step

__all__ = [
    "AgentQ",
    "Bury",
    "Cancel",
    "Context",
    "Policy",
    "Retry",
    "Step",
    "Workflow",
    "astart",
    "astart_many",
    "aworkflow",
    "current",
    "each",
    "on_dead_letter",
    "rule",
    "start",
    "start_many",
    "step",
    "workflow",
]

_HOMES = {
    "AgentQ": "agentq.runtime.app",
    "Bury": "agentq.exceptions",
    "Cancel": "agentq.exceptions",
    "Context": "agentq.workflows.context",
    "Policy": "agentq.policies",
    "Retry": "agentq.exceptions",
    "Step": "agentq.workflows.step",
    "Workflow": "agentq.runtime.workflow",
    "astart": "agentq.runtime.current",
    "astart_many": "agentq.runtime.current",
    "aworkflow": "agentq.runtime.current",
    "current": "agentq.runtime.current",
    "each": "agentq.workflows.each",
    "on_dead_letter": "agentq.runtime.dead_letters",
    "rule": "agentq.policies",
    "start": "agentq.runtime.current",
    "start_many": "agentq.runtime.current",
    "step": "agentq.workflows.step",
    "workflow": "agentq.runtime.current",
}

if not TYPE_CHECKING:  # so that mypy still refuses names that are not there

    def __getattr__(name: str) -> Any:
        """Import what is used: the command line, which reads only the ledger, does without Celery."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module("agentq.runtime.app")  # binds steps to Celery apps, whichever name is used first
        globals()[name] = getattr(import_module(_HOMES[name]), name)
        return globals()[name]

    def __dir__() -> list[str]:
        """List the public names, also those that are not imported yet: what a prompt completes."""
        return sorted(__all__)
