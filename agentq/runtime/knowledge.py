"""What this process knows: the queues that it consumes, the steps and plain tasks that it can run."""

from __future__ import annotations

from celery import Celery

from agentq.ledger.knowledge import Knowledge
from agentq.runtime.dispatcher import CARRIER, DEAD_LETTER
from agentq.states import JobKind
from agentq.workflows import registry


def knowledge_of(app: Celery) -> Knowledge:
    """Return what a worker of this app tells the ledger of itself."""
    steps = {step.name for step in registry.all_steps() if step.name in app.tasks}
    tasks = {name for name in app.tasks if not name.startswith("celery.")} - steps - {CARRIER, DEAD_LETTER}
    return Knowledge(frozenset(app.amqp.queues.consume_from), frozenset(steps), frozenset(tasks))


def can_run(app: Celery, kind: JobKind, name: str) -> bool:
    """Return whether a job of this kind and name can run in this process."""
    return name in app.tasks and (kind == JobKind.TASK or registry.find(name) is not None)
