"""The queues that this process consumes, and the steps and plain tasks that it can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import Celery

from agentq.ledger.knowledge import Knowledge
from agentq.runtime.dispatch.message import CARRIER, DEAD_LETTER, TICK
from agentq.states import JobKind
from agentq.steps import registry

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


def knowledge_of(engine: Engine) -> Knowledge:
    """Return the report of a worker of this app to the ledger."""
    app, digest = engine.app, engine.catalogue.digest
    steps = {step.name: step.parameters.digest for step in registry.all_steps() if step.name in app.tasks}
    others = (
        {name for name in app.tasks if not name.startswith("celery.")}
        - steps.keys()
        - {CARRIER, DEAD_LETTER, TICK}
    )
    return Knowledge(frozenset(app.amqp.queues.consume_from), steps, {name: digest(name) for name in others})


def can_run(app: Celery, kind: JobKind, name: str) -> bool:
    """Return whether a job of this kind and name can run in this process."""
    return name in app.tasks and (kind == JobKind.TASK or registry.find(name) is not None)
