"""agentq: durable agent workflows on the Celery you already run.

Celery runs the work; the ledger remembers it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentq.canvas.each import each
    from agentq.canvas.sleep import sleep
    from agentq.exceptions import Cancel, DeadLetterNow, Retry
    from agentq.policies import Policy, rule
    from agentq.policies.limits import Concurrency, Cooldown, Rate, Tokens
    from agentq.runtime.api import (
        astart,
        astart_many,
        aworkflow,
        beat_schedule,
        current,
        schedule,
        start,
        start_many,
        workflow,
    )
    from agentq.runtime.app import AgentQ
    from agentq.runtime.entry.dead_letters import on_dead_letter
    from agentq.runtime.step import Step, step
    from agentq.runtime.workflow import Workflow
    from agentq.steps.context import Context

__all__ = [
    "AgentQ",
    "Cancel",
    "Concurrency",
    "Context",
    "Cooldown",
    "DeadLetterNow",
    "Policy",
    "Rate",
    "Retry",
    "Step",
    "Tokens",
    "Workflow",
    "astart",
    "astart_many",
    "aworkflow",
    "beat_schedule",
    "current",
    "each",
    "on_dead_letter",
    "rule",
    "schedule",
    "sleep",
    "start",
    "start_many",
    "step",
    "workflow",
]

_HOMES = {
    "AgentQ": "agentq.runtime.app",
    "Cancel": "agentq.exceptions",
    "Concurrency": "agentq.policies.limits",
    "Context": "agentq.steps.context",
    "Cooldown": "agentq.policies.limits",
    "DeadLetterNow": "agentq.exceptions",
    "Policy": "agentq.policies",
    "Rate": "agentq.policies.limits",
    "Retry": "agentq.exceptions",
    "Step": "agentq.runtime.step",
    "Tokens": "agentq.policies.limits",
    "Workflow": "agentq.runtime.workflow",
    "astart": "agentq.runtime.api",
    "astart_many": "agentq.runtime.api",
    "aworkflow": "agentq.runtime.api",
    "beat_schedule": "agentq.runtime.api",
    "current": "agentq.runtime.api",
    "each": "agentq.canvas.each",
    "sleep": "agentq.canvas.sleep",
    "on_dead_letter": "agentq.runtime.entry.dead_letters",
    "rule": "agentq.policies",
    "schedule": "agentq.runtime.api",
    "start": "agentq.runtime.api",
    "start_many": "agentq.runtime.api",
    "step": "agentq.runtime.step",
    "workflow": "agentq.runtime.api",
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
