"""Every way on from a dead letter, in the ledger: replay, resolve, go on, edit, assign, cancel."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, func, select, update

from agentq.exceptions import NotFound, StateConflict
from agentq.ledger import actions, moves
from agentq.ledger.attempts import queued_successors
from agentq.ledger.db.types import AnyRow
from agentq.ledger.handover import Done, go_on_short, hand_over, resume_fan_in, wait_again
from agentq.ledger.models import DeadLetterRow, JobRow
from agentq.ledger.transaction import Transaction
from agentq.states import FAN_INS, RUNNABLE, DeadLetterStatus, JobStatus


def replay(
    tx: Transaction,
    job_id: uuid.UUID,
    *,
    actor: str,
    reason: str,
    attempts: int | None = None,
    delay: float = 0,
    action_id: uuid.UUID | None = None,
) -> None:
    """Give a dead job new attempts, dispatched by a caretaker; its workflow goes on where it stopped.

    Of a fan-in with missing members, those run again, and their dead letters are closed with its own.

    *attempts* is how many, None for as many as its step allows; *delay* in seconds holds it back. As with all
    that follow, *action_id* is the same each time that one replay is tried: so one whose commit got no answer
    finds that it was done.

    Raises NotFound, or StateConflict where the job has no open dead letter: it was replayed before.
    """
    letter = _close(tx, job_id, DeadLetterStatus.REPLAYED, action_id)
    if letter is None:
        return
    revived: list[AnyRow] = []
    if not moves.revive(tx, job_id, attempts=attempts, delay=delay):
        members = moves.revive_members(tx, job_id, attempts=attempts, delay=delay)
        if members is None:
            raise _cannot_live(tx, job_id)
        revived = members
    along = [row.id for row in revived if row.status == JobStatus.FAILED] + _require_use(tx, job_id)
    _close_along(tx, along, actor=actor, reason=reason)
    moves.reopen_workflow(tx, letter.workflow_id)
    actions.note(tx, letter.workflow_id, job_id, "replay", actor=actor, reason=reason, action_id=action_id)
    for row in revived:
        if row.kind in FAN_INS:
            resume_fan_in(tx, row)
    moves.schedule_dispatches(tx)


def resolve(
    tx: Transaction,
    job_id: uuid.UUID,
    result: str,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID | None = None,
) -> None:
    """Give a dead job its result by hand, as JSON text; its workflow goes on with it.

    Raises NotFound, or StateConflict where the job has no open dead letter.
    """
    letter = _close(tx, job_id, DeadLetterStatus.RESOLVED, action_id)
    if letter is None:
        tx.dispatch(*queued_successors(tx.connection, job_id))
        return
    row = moves.supply(tx, job_id, result)
    if row is None:
        raise _cannot_live(tx, job_id)
    _close_along(tx, _require_use(tx, job_id), actor=actor, reason=reason)
    moves.reopen_workflow(tx, letter.workflow_id)
    actions.note(tx, letter.workflow_id, job_id, actions.RESOLVE, actor=actor, reason=reason, action_id=action_id)
    hand_over(tx, Done(row.id, row.workflow_id, row.join_id, row.is_last, result), may_refuse=True)


def go_on(
    tx: Transaction, job_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> None:
    """Let a fan-in with missing members go on with the others; the missing ones are cancelled.

    Raises NotFound, or StateConflict where the job has no open dead letter, or is no such fan-in.
    """
    letter = _close(tx, job_id, DeadLetterStatus.RESOLVED, action_id)
    if letter is None:
        tx.dispatch(*queued_successors(tx.connection, job_id))
        return
    fan_in = moves.go_on_short(tx, job_id)
    if fan_in is None:
        raise _cannot_live(tx, job_id)
    _close_along(tx, _require_use(tx, job_id), actor=actor, reason=reason)
    moves.reopen_workflow(tx, letter.workflow_id)
    actions.note(tx, letter.workflow_id, job_id, actions.RESOLVE, actor=actor, reason=reason, action_id=action_id)
    go_on_short(tx, fan_in)


def cancel(
    tx: Transaction, job_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> None:
    """Give a dead job up: its dead letter is closed, the workflow stays failed.

    Raises NotFound, or StateConflict where the job has no open dead letter.
    """
    letter = _close(tx, job_id, DeadLetterStatus.CANCELLED, action_id)
    if letter is not None:
        actions.note(
            tx,
            letter.workflow_id,
            job_id,
            "cancel dead letter",
            actor=actor,
            reason=reason,
            action_id=action_id,
        )


def edit(
    tx: Transaction,
    job_id: uuid.UUID,
    arguments: str,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID | None = None,
) -> None:
    """Replace the arguments of a dead job, as JSON text of [args, kwargs]; the old ones stay in the history.

    Raises NotFound, or StateConflict where the job has no open dead letter, or is no step.
    """
    row = _lock_open(tx, job_id, action_id)
    if row is None:
        return
    if row.kind not in RUNNABLE:
        raise _cannot_live(tx, job_id)
    tx.connection.execute(
        update(JobRow).where(JobRow.id == job_id, JobRow.status == JobStatus.FAILED).values(arguments=arguments)
    )
    actions.note(
        tx,
        row.workflow_id,
        job_id,
        "edit arguments",
        actor=actor,
        reason=reason,
        details=row.arguments,
        action_id=action_id,
    )


def assign(
    tx: Transaction,
    job_id: uuid.UUID,
    owner: str,
    note: str,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID | None = None,
) -> None:
    """Make a dead letter a manual task of *owner*; it stays open.

    Raises NotFound, or StateConflict where the job has no open dead letter.
    """
    row = _lock_open(tx, job_id, action_id)
    if row is None:
        return
    tx.connection.execute(
        update(DeadLetterRow)
        .where(DeadLetterRow.id == row.id, DeadLetterRow.status == DeadLetterStatus.OPEN)
        .values(owner=owner, note=note or None)
    )
    action = f"assign to {owner}"[:255]
    actions.note(tx, row.workflow_id, job_id, action, actor=actor, reason=reason, action_id=action_id)


def replays(connection: Connection, job_id: uuid.UUID) -> int:
    """Return how often a job was replayed."""
    replayed = (DeadLetterRow.job_id == job_id, DeadLetterRow.status == DeadLetterStatus.REPLAYED)
    return connection.scalar(select(func.count()).select_from(DeadLetterRow).where(*replayed)) or 0


def _close(
    tx: Transaction, job_id: uuid.UUID, status: DeadLetterStatus, action_id: uuid.UUID | None
) -> AnyRow | None:
    """Close the open letter; None where this very action closed it before."""
    moves.lock_for_decision(tx, job_id)
    letter = moves.close_letter(tx, job_id, status)
    if letter is None and not (action_id is not None and actions.is_noted(tx.connection, action_id)):
        raise _not_open(tx, job_id)
    return letter


def _lock_open(tx: Transaction, job_id: uuid.UUID, action_id: uuid.UUID | None) -> AnyRow | None:
    """Lock the open letter; None where this very action was done before."""
    moves.lock_for_decision(tx, job_id)
    found = (
        select(DeadLetterRow.id, DeadLetterRow.workflow_id, JobRow.kind, JobRow.arguments)
        .join(JobRow, JobRow.id == DeadLetterRow.job_id)
        .where(DeadLetterRow.job_id == job_id, DeadLetterRow.status == DeadLetterStatus.OPEN)
        .with_for_update(key_share=True, of=DeadLetterRow)
    )
    row = tx.connection.execute(found).one_or_none()
    if action_id is not None and actions.is_noted(tx.connection, action_id):
        return None
    if row is None:
        raise _not_open(tx, job_id)
    return row


def _not_open(tx: Transaction, job_id: uuid.UUID) -> NotFound | StateConflict:
    status = tx.connection.scalar(select(JobRow.status).where(JobRow.id == job_id))
    if status is None:
        return NotFound(f"no job has the id {job_id}; list dead letters with: agentq dead-letters list")
    letters = select(DeadLetterRow.status).where(DeadLetterRow.job_id == job_id)
    last = tx.connection.scalar(letters.order_by(DeadLetterRow.id.desc()).limit(1))
    if last is None:
        return StateConflict(f"job {job_id}", expected=["dead"], found=status, next_step="It has no dead letter.")
    return StateConflict(
        f"the dead letter of job {job_id}",
        expected=[DeadLetterStatus.OPEN],
        found=last,
        next_step=f"The job is {status}; look with: agentq jobs show {job_id}",
    )


def _close_along(tx: Transaction, jobs: list[uuid.UUID], *, actor: str, reason: str) -> None:
    """Close the letters of jobs that live again with the one that is decided about."""
    for job_id in jobs:
        letter = moves.close_letter(tx, job_id, DeadLetterStatus.REPLAYED)
        if letter is not None:
            actions.note(tx, letter.workflow_id, job_id, "replay", actor=actor, reason=reason)


def _require_use(tx: Transaction, job_id: uuid.UUID) -> list[uuid.UUID]:
    """Refuse to let a job live again whose result nothing waits for any more; returns the fan-ins that do."""
    waiting = wait_again(tx, job_id)
    if waiting is None:
        raise StateConflict(
            f"what needs job {job_id}",
            expected=[JobStatus.WAITING],
            found="over (its workflow has gone on without it, or was cancelled or failed as a whole)",
            next_step="Cancel the dead letter, and start a new workflow where its result is still wanted; where "
            "its fan-in has a dead letter, decide about that.",
        )
    return waiting


def _cannot_live(tx: Transaction, job_id: uuid.UUID) -> StateConflict:
    job = tx.connection.execute(select(JobRow.kind, JobRow.status).where(JobRow.id == job_id)).one()
    if job.kind not in RUNNABLE:
        next_step = (
            "A fan-in with missing members has no arguments: replay those with its dead letter, or resolve that "
            "without a result. An each() that got no list cannot go on: cancel its dead letter and start a new "
            "workflow."
        )
        return StateConflict(f"job {job_id}", expected=["step"], found=job.kind, next_step=next_step)
    return StateConflict(f"job {job_id}", expected=[JobStatus.FAILED], found=job.status)
