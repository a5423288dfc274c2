"""Events of a running attempt: one guarded INSERT each, which takes the workflow's next number.

The number comes from the primary key alone. A writer sees the number before its own only when that is committed.
Of two writers that take the same number, the second waits for the first, and then finds it taken. So numbers are
committed in their order.
"""

from __future__ import annotations

import functools
import uuid
from typing import Any

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from agentq.ledger.db.types import now
from agentq.ledger.models import EventRow, JobRow
from agentq.ledger.moves.shared import JOB_ID, MINE
from agentq.ledger.transaction import Transaction

_before = select(func.coalesce(func.max(EventRow.number), 0)).where(EventRow.workflow_id == JobRow.workflow_id)
# Locked against the attempt's end: so no event comes after it, and a rescue waits for one statement at most.
_next = (
    select(
        JobRow.workflow_id,
        _before.correlate(JobRow).scalar_subquery() + 1,
        JobRow.id,
        JobRow.attempt,
        bindparam("event_kind", type_=EventRow.kind.type),
        bindparam("event_data", type_=EventRow.data.type),
        now(),
    )
    .where(MINE)
    .with_for_update(read=True, of=JobRow)
)
_COLUMNS = ["workflow_id", "number", "job_id", "attempt", "kind", "data", "created_at"]
_FORGET = delete(EventRow).where(
    EventRow.job_id == JOB_ID,
    EventRow.kind == bindparam("event_kind"),
    EventRow.number < bindparam("event_number"),
)


def record_event(tx: Transaction, job_id: uuid.UUID, attempt: int, kind: str, data: str) -> int | None:
    """Write an event of the attempt that owns the job, *data* as JSON text; returns its number.

    None where the attempt no longer owns the job, or another one took the number first.
    """
    values = {"job_id": job_id, "held_attempt": attempt, "event_kind": kind, "event_data": data}
    number: int | None = tx.connection.scalar(_insert(tx.connection.dialect.name), values)
    return number


def forget_before(tx: Transaction, job_id: uuid.UUID, kind: str, number: int) -> None:
    """Delete the events of this kind that a job recorded before the one of this number."""
    tx.connection.execute(_FORGET, {"job_id": job_id, "event_kind": kind, "event_number": number})


@functools.cache
def _insert(dialect: str) -> Any:
    kinds: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    new = kinds[dialect](EventRow).from_select(_COLUMNS, _next)
    return new.on_conflict_do_nothing().returning(EventRow.number)
