"""The end of an attempt, whatever ends it: nothing else writes the history."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Insert, Select, bindparam, insert, literal, select

from agentq.ledger.after_commit import GiveBack
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import AttemptRow, JobRow
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import AttemptOutcome, JobStatus

NO_FAILURE = Failure("", "", "")


def ending(ended: Select[*tuple[Any, ...]]) -> Insert:
    """Return the INSERT that ends attempts; *ended* selects columns of the history by name, but for the time."""
    values = ended.add_columns(now().label("finished_at"))
    return insert(AttemptRow).from_select(values.selected_columns.keys(), values)


_given = (column for column in AttemptRow.__table__.columns if column.key != "finished_at")
_END = Prepared(ending(select(*(bindparam(column.key, type_=column.type).label(column.key) for column in _given))))
_has_ended = select(AttemptRow.job_id).where(AttemptRow.job_id == JobRow.id, AttemptRow.number == JobRow.attempt)
_END_CANCELLED = ending(
    select(
        JobRow.id.label("job_id"),
        JobRow.attempt.label("number"),
        literal(AttemptOutcome.CANCELLED).label("outcome"),
        JobRow.worker_id,
        JobRow.started_at,
    ).where(
        JobRow.workflow_id == bindparam("workflow"),
        JobRow.status == JobStatus.CANCELLED,
        JobRow.attempt > 0,
        ~_has_ended.exists(),
    )
)


def end_attempt(
    tx: Transaction, claimed: Claim | AnyRow, outcome: AttemptOutcome, failure: Failure = NO_FAILURE
) -> None:
    """End one attempt, whose job has just been moved; *claimed* is its claim, or a row with the columns of one."""
    values: dict[str, Any] = {
        "job_id": claimed.job_id if isinstance(claimed, Claim) else claimed.id,
        "number": claimed.attempt,
        "outcome": outcome,
        "worker_id": claimed.worker_id,
        "started_at": claimed.started_at,
        "error_category": failure.category or None,
        "error_class": failure.error_class or None,
        "error_message": failure.message or None,
        "error_traceback": failure.traceback or None,
        "error_provider": failure.provider,
        "error_status": failure.status,
        "error_code": failure.code,
        "error_request_id": failure.request_id,
    }
    _END.count(tx.connection, values)
    if claimed.limits:  # a job that is queued again keeps its slots
        tx.then(GiveBack(values["job_id"]))


def end_cancelled(tx: Transaction, workflow_id: uuid.UUID) -> None:
    """End the attempts whose jobs have just been cancelled: those that ran, and so are not in the history yet."""
    tx.connection.execute(_END_CANCELLED, {"workflow": workflow_id})
