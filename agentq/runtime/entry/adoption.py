"""Calls that reach a worker with plain arguments: from ``send_task``, beat, Flower, or code without the steps.

The worker writes the job first, under Celery's task id, so that a redelivery is the same job; then it runs it
as any other.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from celery import Signature, chain, signature

from agentq.canvas.compile import compile_canvas
from agentq.exceptions import CanvasError
from agentq.ledger import starts
from agentq.runtime.dispatch.task_ids import ids_of

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


_FROZEN = frozenset({"task_id", "root_id", "parent_id", "group_id", "group_index", "reply_to", "chord"})


def adopt(engine: Engine, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> uuid.UUID:
    """Write the workflow of a plain call, unless it is there already, and return the id of its first job.

    The tasks after the call (the rest of a chain, callbacks) become jobs of the workflow and are
    taken from the request, so that Celery does not run it as well.

    Raises CanvasError where the call is in a native chord, whose counting the ledger cannot do.
    """
    request = task.request
    if request.chord or request.errbacks:
        part = "chord" if request.chord else "chain or task with link_error"
        raise CanvasError(f"step {task.name!r} was sent in a native {part}; start it with agentq.start()")
    graph = compile_canvas(_canvas(task, args, kwargs), engine.catalogue, engine.defaults())
    request.chain = request.callbacks = None
    workflow_id, job_id = ids_of(request.id)
    # The first job's message is this very message, so nothing is dispatched; and its sender cannot be refused.
    engine.ledger.write(
        lambda tx: starts.start(
            tx,
            graph,
            tenant=engine.settings.tenant,
            key=None,
            workflow_id=workflow_id,
            job_id=job_id,
            on_full=None,
        )
    )
    return job_id


def _canvas(task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Signature:
    request = task.request
    first = Signature(task.name, args, kwargs)
    for callback in request.callbacks or ():
        first.link(signature(_unfrozen(callback), app=task.app))
    if request.expires:
        first.set(expires=request.expires)
    rest = [signature(_unfrozen(part), app=task.app) for part in reversed(request.chain or ())]
    return chain(first, *rest) if rest else first


def _unfrozen(part: Any) -> Any:
    """Return a signature without the ids that Celery gave it when it was sent."""
    if isinstance(part, dict):
        thawed = {name: _unfrozen(value) for name, value in part.items()}
        if "task" in part and isinstance(thawed.get("options"), dict):
            thawed["options"] = {name: value for name, value in thawed["options"].items() if name not in _FROZEN}
        return thawed
    return [_unfrozen(item) for item in part] if isinstance(part, (list, tuple)) else part
