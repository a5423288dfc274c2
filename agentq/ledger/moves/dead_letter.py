"""The moves of dead letters, and of the jobs that they let live again."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import (
    Float,
    String,
    bindparam,
    case,
    insert,
    literal,
    null,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from agentq.ids import new_id
from agentq.ledger.db.types import AnyRow, now, seconds_from_now
from agentq.ledger.models import DeadLetterRow, JobRow
from agentq.ledger.moves.ready import due
from agentq.ledger.moves.shared import JOB_ID, REVIVED
from agentq.ledger.transaction import Transaction
from agentq.states import RUNNABLE, DeadLetterKind, DeadLetterStatus, JobStatus

_dead_id = bindparam("dead_id", type_=JobRow.id.type)  # the table has a job_id of its own
_OF_FAILED_JOB = {
    "id": bindparam("letter_id", type_=DeadLetterRow.id.type),
    "kind": literal(DeadLetterKind.JOB),
    "status": literal(DeadLetterStatus.OPEN),
    "job_id": JobRow.id,
    "workflow_id": JobRow.workflow_id,
    "tenant": JobRow.tenant,
    "step": JobRow.step,
    "attempts": JobRow.attempt,
    "needs_person": bindparam("ask", type_=DeadLetterRow.needs_person.type),
    "error_category": JobRow.error_category,
    "error_class": JobRow.error_class,
    "error_message": JobRow.error_message,
    "created_at": now(),
}
_OPEN = insert(DeadLetterRow).from_select(
    list(_OF_FAILED_JOB),
    select(*_OF_FAILED_JOB.values()).where(JobRow.id == _dead_id, JobRow.status == JobStatus.FAILED),
)
_OF_MESSAGES = {
    "kind": literal(DeadLetterKind.MESSAGE),
    "status": literal(DeadLetterStatus.OPEN),
    "attempts": literal(0),
    "needs_person": true(),  # there is no job that could be replayed
    "created_at": now(),
    "recorded_at": now(),  # its snapshot comes with it
}


def _count_alike(dialect: Any) -> Any:
    """A new letter, or more messages for one that exists; a closed one opens again and is issued again."""
    new = dialect.insert(DeadLetterRow).values(_OF_MESSAGES)
    was_open = DeadLetterRow.status == DeadLetterStatus.OPEN
    return new.on_conflict_do_update(
        index_elements=["digest"],
        index_where=text("digest IS NOT NULL"),
        set_={
            "messages": DeadLetterRow.messages + new.excluded.messages,
            "status": DeadLetterStatus.OPEN,
            "closed_at": null(),
            "dispatched_at": case((was_open, DeadLetterRow.dispatched_at)),
            "handled_at": case((was_open, DeadLetterRow.handled_at)),
        },
    )


_COUNT_ALIKE = {dialect.dialect.name: _count_alike(dialect) for dialect in (postgresql, sqlite)}
_CLOSE_ALIKE = (
    update(DeadLetterRow)
    .where(
        DeadLetterRow.id == bindparam("letter_id", type_=DeadLetterRow.id.type),
        DeadLetterRow.kind == DeadLetterKind.MESSAGE,
        DeadLetterRow.status == DeadLetterStatus.OPEN,
    )
    .values(
        status=DeadLetterStatus.CANCELLED,
        closed_at=now(),
        owner=bindparam("actor", type_=String()),
        note=bindparam("reason", type_=String()),
    )
)
_CLOSE = (
    update(DeadLetterRow)
    .where(DeadLetterRow.job_id == _dead_id, DeadLetterRow.status == DeadLetterStatus.OPEN)
    .values(status=bindparam("new_status", type_=String()), closed_at=now())
    .returning(DeadLetterRow.id, DeadLetterRow.workflow_id)
)
_is_failed = (JobRow.id == JOB_ID, JobRow.status == JobStatus.FAILED, JobRow.kind.in_(sorted(RUNNABLE)))
_delay = bindparam("seconds", type_=Float())
_REVIVE = (
    update(JobRow)
    .where(*_is_failed)
    .values(
        # Never straight to queued: a person who replays may have no way to the broker, a caretaker has.
        due(seconds_from_now(_delay)) | REVIVED
    )
)
_SUPPLY = (
    update(JobRow)
    .where(*_is_failed)
    .values(
        status=JobStatus.SUCCEEDED,
        result=bindparam("new_result"),
        finished_at=now(),
        error_category=null(),
        error_class=null(),
        error_message=null(),
    )
    .returning(JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last)
)


def open_letter(tx: Transaction, job_id: uuid.UUID, *, needs_person: bool) -> None:
    """Write the open dead letter of a job that has just failed for good."""
    tx.connection.execute(_OPEN, {"letter_id": new_id(), "dead_id": job_id, "ask": needs_person})


def open_message_letter(tx: Transaction, values: dict[str, Any]) -> None:
    """Write the open dead letter of refused messages, or count them on the letter that has their digest.

    *values* are its tenant, step, error, digest and snapshot, and how many ``messages`` came.
    """
    tx.connection.execute(_COUNT_ALIKE[tx.connection.dialect.name], {"id": new_id(), **values})


def close_message_letter(tx: Transaction, letter_id: uuid.UUID, *, actor: str, reason: str) -> bool:
    """Open to cancelled for a letter of messages; False where it is not open, or is of a job."""
    values = {"letter_id": letter_id, "actor": actor, "reason": reason}
    return tx.connection.execute(_CLOSE_ALIKE, values).rowcount == 1


def close_letter(tx: Transaction, job_id: uuid.UUID, status: DeadLetterStatus) -> AnyRow | None:
    """Open to *status* for the job's dead letter; its id and workflow_id, or None where none is open."""
    return tx.connection.execute(_CLOSE, {"dead_id": job_id, "new_status": status}).one_or_none()


def revive(tx: Transaction, job_id: uuid.UUID, *, attempts: int | None, delay: float) -> bool:
    """Failed to scheduled, with new attempts; False where it is not failed, or no worker runs its kind.

    *attempts* is how many it may have, None for as many as its step allows.
    """
    values = {"job_id": job_id, "attempts": attempts, "seconds": delay}
    return tx.connection.execute(_REVIVE, values).rowcount == 1


def supply(tx: Transaction, job_id: uuid.UUID, result: str) -> AnyRow | None:
    """Failed to succeeded, with a result that a person gave; what a hand-over needs, or None."""
    return tx.connection.execute(_SUPPLY, {"job_id": job_id, "new_result": result}).one_or_none()
