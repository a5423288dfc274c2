"""The history: one row per finished attempt, written with its outcome by whoever ended it."""

from __future__ import annotations

import uuid

from sqlalchemy import bindparam, insert, literal, select

from agentq.ledger.models import AttemptRow, JobRow
from agentq.ledger.prepared import Prepared
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.ledger.types import AnyRow, now
from agentq.outcomes import Failure
from agentq.states import AttemptOutcome, JobStatus

_TOLD = {
    column.key: bindparam(column.key, type_=column.type)
    for column in AttemptRow.__table__.columns
    if column.key != "finished_at"
}
_ADD = Prepared(insert(AttemptRow).values({**_TOLD, "finished_at": now()}))
NO_FAILURE = Failure("", "", "")


def write_history(
    tx: Transaction, held: Claim | AnyRow, outcome: AttemptOutcome, failure: Failure = NO_FAILURE
) -> None:
    """Note how an attempt ended; *held* is its claim, or a row with the columns of a held job."""
    values = {
        "job_id": held.job_id if isinstance(held, Claim) else held.id,
        "number": held.attempt,
        "outcome": outcome,
        "worker_id": held.worker_id,
        "started_at": held.started_at,
        "error_category": failure.category or None,
        "error_class": failure.error_class or None,
        "error_message": failure.message or None,
        "error_traceback": failure.traceback or None,
        "error_provider": failure.provider,
        "error_status": failure.status,
        "error_code": failure.code,
        "error_request_id": failure.request_id,
    }
    _ADD.count(tx.connection, values)


def note_interrupted(tx: Transaction, workflow_id: uuid.UUID) -> None:
    """Write the history of attempts that a cancel ended: those without a row, which finished ones have."""
    finished = select(AttemptRow.job_id).where(AttemptRow.job_id == JobRow.id, AttemptRow.number == JobRow.attempt)
    interrupted = select(
        JobRow.id,
        JobRow.attempt,
        literal(AttemptOutcome.CANCELLED),
        JobRow.worker_id,
        JobRow.started_at,
        now(),
    ).where(
        JobRow.workflow_id == workflow_id,
        JobRow.status == JobStatus.CANCELLED,
        JobRow.attempt > 0,
        ~finished.exists(),
    )
    columns = ["job_id", "number", "outcome", "worker_id", "started_at", "finished_at"]
    tx.connection.execute(insert(AttemptRow).from_select(columns, interrupted))
