"""Jobs whose limits need what the step before gives: their names are made when that is known.

Such a job has ``limits`` without names, and ``pays``: so its message claims nothing. A branch of an ``each`` gets
the names when it is written, if the process has its step; all others get them by the worker of their first
message, which blocks them in the line of their first limit, or claims them where they have none. A worker that
dies before, or after, leaves a job that its message, or a caretaker, moves on.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select

from agentq.canvas.graph import Node
from agentq.exceptions import InvalidArguments
from agentq.ledger import moves
from agentq.ledger.after_commit import Enter
from agentq.ledger.models import JobRow
from agentq.ledger.results import collect_results
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus
from agentq.steps import registry
from agentq.steps.naming import JobLimits, Naming

_FOUND = select(
    *(JobRow.step, JobRow.tenant, JobRow.queue, JobRow.attempt),
    *(JobRow.arguments, JobRow.after_id, JobRow.immutable),
).where(and_(JobRow.status == JobStatus.QUEUED, moves.IS_UNNAMED))


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A job whose limits have no names yet, with all that makes them."""

    job_id: uuid.UUID
    step: str
    tenant: str
    queue: str
    attempt: int
    args: list[Any]
    """As JSON, with what the step before gave."""
    kwargs: dict[str, Any]


def find_unnamed(connection: Connection, job_id: uuid.UUID) -> Unnamed | None:
    """Return the job of this id, if it is queued and its limits have no names yet."""
    row = connection.execute(_FOUND.where(JobRow.id == job_id)).one_or_none()
    if row is None:
        return None
    args, kwargs = json.loads(row.arguments)
    if row.after_id is not None and not row.immutable:
        args = [json.loads(collect_results(connection, row.after_id)), *args]
    return Unnamed(job_id, row.step, row.tenant, row.queue, row.attempt, args, kwargs)


def name_limits(tx: Transaction, job: Unnamed, limits: JobLimits) -> JobStatus | None:
    """Give a job the names of its limits: it waits for a slot, or is still queued where it has none.

    Returns its status. None where another process was first, or the job has moved since it was found.
    """
    row = moves.name_limits(tx, job.job_id, job.queue, job.attempt, limits)
    if row is None:
        return None
    if row.blocked_on is not None:
        moves.declare(tx, limits.meters)
        tx.then(Enter(row.blocked_on, row.tenant))
    return JobStatus(row.status)


def limits_of_branch(node: Node, tenant: str, naming: Naming | None) -> JobLimits | None:
    """Return the limits of the first job of an each's branch, whose item is among its arguments.

    None where they cannot be named here: the worker of its first message does, or fails the job.
    """
    step = None if naming is None else registry.find(node.step)
    if naming is None or step is None:
        return None
    try:
        arguments = step.parameters.loaded(node.args, node.kwargs)
        return naming.name(step, node.queue, tenant, arguments)
    except InvalidArguments:
        return None
