"""What a job that is not done waits for, in words."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from agentq.ledger import knowledge
from agentq.ledger.knowledge import NOBODY, Live
from agentq.ledger.types import AnyRow
from agentq.operations.fan_ins import parts_awaited
from agentq.states import OTHER_PARAMETERS, UNKNOWN_TASK, JobStatus

LEFT = (UNKNOWN_TASK, OTHER_PARAMETERS)
"""Classes of the error of a job that a worker left for one of another release."""


def live_for(connection: Connection, rows: Sequence[AnyRow]) -> Live:
    """Return the live workers, where one of these jobs waits for a worker."""
    is_asked = any(row.status == JobStatus.QUEUED for row in rows)
    return knowledge.live(connection) if is_asked else NOBODY


def waiting_for(row: AnyRow, live: Live, members: int = 0) -> str | None:
    """Return what a job waits for; None where it runs or has ended. *members* are the parts of a fan-in."""
    match row.status:
        case JobStatus.WAITING if members:
            return parts_awaited(row, members)
        case JobStatus.SCHEDULED if row.error_class in LEFT:
            return str(row.due_reason)
        case JobStatus.WAITING:
            return f"{row.remaining} job(s) before it" if row.remaining else "its place in the workflow"
        case JobStatus.SCHEDULED:
            why = f" ({row.due_reason})" if row.due_reason else ""
            return f"its time, {row.due_at:%Y-%m-%d %H:%M:%S} UTC{why}"
        case JobStatus.QUEUED:
            return _waiting_for_worker(row, live)
    return None


def _waiting_for_worker(row: AnyRow, live: Live) -> str:
    asked = live.ask(row.queue, row.kind, row.step)
    if asked is not None and live.workers and not asked.consuming:
        return f"a worker on queue {row.queue!r}, which no live worker consumes"
    if row.error_class in LEFT:
        return str(row.due_reason)
    if asked is None or not live.workers:
        return f"a free worker on queue {row.queue!r}"
    if not asked.knowing:
        return f"a worker that knows it: {asked.says_nobody_knows(row.kind, row.step)}"
    if asked.knowing < asked.consuming:
        known = f"{asked.knowing} of {asked.consuming} live workers there do"
        return f"a worker on queue {row.queue!r} that knows {row.kind} {row.step!r}: {known}"
    return f"a free worker on queue {row.queue!r}"
