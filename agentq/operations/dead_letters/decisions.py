"""Decisions of people on a dead letter: edit the arguments, supply the result, assign it, cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import actions, moves, refused_messages
from agentq.ledger import dead_letters as ledger_dead_letters
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import dead_letters as letter_queries
from agentq.ledger.queries import jobs
from agentq.ledger.transaction import Transaction
from agentq.operations.actors import LONGEST_REASON, OperatorAction, operator_action
from agentq.operations.dead_letters.queries import keep_snapshot, read
from agentq.operations.dead_letters.values import checked_result, edited_arguments
from agentq.operations.identity import parse_id
from agentq.operations.schemas import DeadLetter
from agentq.redaction import clean, show
from agentq.states import FAN_INS, MISSING_MEMBERS, RUNNABLE, DeadLetterKind, DeadLetterStatus

MAX_VALUE_BYTES = 262_144
ABSENT: Any = object()
"""Stands for no result, which None is not."""


def edit(
    ledger: Ledger,
    letter_id: str,
    *,
    args: list[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    max_value_bytes: int = MAX_VALUE_BYTES,
    actor: str = "",
    reason: str = "",
) -> DeadLetter:
    """Replace the arguments of a dead job; the letter stays open, and what they were stays in its history.

    Args:
        ledger: where.
        letter_id: the dead letter's id or its job's.
        args: the new positional arguments, as JSON data, without what the job before gives. Default: as they are.
        kwargs: the new keyword arguments, as JSON data. Default: as they are. In both, a secret that is left as
            it is shown, masked, stays.
        max_value_bytes: size limit of the arguments, in bytes of JSON.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the dead letter. Raises NotFound; StateConflict where it is not open or no job's; ConfigurationError
    where the job's step is not known in this process; InvalidArguments or ValueTooLarge for what does not fit it.
    """
    if not (isinstance(args, list) or args is None) or not (isinstance(kwargs, dict) or kwargs is None):
        raise InvalidArguments(f"args is {show(args)}, kwargs {show(kwargs)}; give a list and a dict")
    if args is None and kwargs is None:
        raise InvalidArguments("neither args nor kwargs is given; give those that are to be replaced")
    action = operator_action(actor, reason)

    def write(tx: Transaction, letter: AnyRow) -> None:
        job = _job_of(tx, letter)
        arguments = edited_arguments(job, args, kwargs, max_value_bytes)
        ledger_dead_letters.edit(tx, job.id, arguments, **action)

    return decide(ledger, letter_id, action, write)


def resolve(
    ledger: Ledger,
    letter_id: str,
    *,
    result: Any = ABSENT,
    unchecked: bool = False,
    max_value_bytes: int = MAX_VALUE_BYTES,
    actor: str = "",
    reason: str = "",
) -> DeadLetter:
    """Give a dead job its result by hand; a caretaker lets its workflow go on with it, joins included.

    Args:
        ledger: where.
        letter_id: the dead letter's id or its job's.
        result: the step's result, as JSON data. Left out for a fan-in with missing members: it goes
            on with those that are there.
        unchecked: take the result as it is: for a step that no code has any more.
        max_value_bytes: size limit of the result, in bytes of JSON.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the dead letter, closed. Raises NotFound; StateConflict where it is not open or no job's: of two at
    once, one gets this; ConfigurationError where the job's step is not known in this process; InvalidResult or
    ValueTooLarge for a result that does not fit it.
    """
    action = operator_action(actor, reason)

    def write(tx: Transaction, letter: AnyRow) -> None:
        if result is ABSENT:
            _require_fan_in(tx, letter)
            ledger_dead_letters.go_on(tx, letter.job_id, **action)
            return
        job = _job_of(tx, letter)
        text = checked_result(job, result, max_value_bytes, unchecked=unchecked)
        ledger_dead_letters.resolve(tx, job.id, text, **action)

    return decide(ledger, letter_id, action, write)


def assign(
    ledger: Ledger, letter_id: str, *, owner: str, note: str = "", actor: str = "", reason: str = ""
) -> DeadLetter:
    """Make a dead letter the manual task of a person; it stays open.

    Args:
        ledger: where.
        letter_id: the dead letter's id or its job's.
        owner: the person, 1 to 255 printable characters; instead of who had it before.
        note: what is to be done, for people.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the dead letter. Raises NotFound, and StateConflict where it is not open or no job's.
    """
    if not (0 < len(owner) <= 255 and owner.isprintable()):
        raise InvalidArguments(f"owner is {show(owner)}; it must be 1 to 255 printable characters")
    action, note = operator_action(actor, reason), clean(note, LONGEST_REASON)

    def write(tx: Transaction, letter: AnyRow) -> None:
        ledger_dead_letters.assign(tx, letter.job_id, owner, note, **action)

    return decide(ledger, letter_id, action, write)


def cancel(ledger: Ledger, letter_id: str, *, actor: str = "", reason: str = "") -> DeadLetter:
    """Cancel a dead job, or a message that no worker could take: its dead letter is closed.

    The job's workflow stays failed. Raises NotFound, and StateConflict where the letter is not open.
    """
    action = operator_action(actor, reason)

    def write(tx: Transaction, letter: AnyRow) -> None:
        if letter.kind == DeadLetterKind.MESSAGE:
            refused_messages.cancel(tx, letter.id, actor=action["actor"], reason=action["reason"])
        else:
            ledger_dead_letters.cancel(tx, letter.job_id, **action)

    return decide(ledger, letter_id, action, write, also_messages=True)


def decide(
    ledger: Ledger,
    letter_id: str,
    action: OperatorAction,
    write: Callable[[Transaction, AnyRow], None],
    *,
    also_messages: bool = False,
) -> DeadLetter:
    """Let *write* decide on an open dead letter, which is locked until then, and return the letter after it.

    Raises NotFound, and StateConflict where it is closed, or is of messages and those are not meant.
    """
    wanted = parse_id(letter_id, "dead-letter")

    def change(tx: Transaction) -> DeadLetter:
        of_job = letter_queries.find(tx.connection, wanted).job_id
        if of_job is not None:
            moves.lock_for_decision(tx, of_job)  # before the letter, as a failure that opens one
        letter = letter_queries.find(tx.connection, wanted, locked=True)
        if not _is_done(tx, letter, action):
            if letter.kind == DeadLetterKind.MESSAGE and not also_messages:
                raise _no_job(letter)
            if letter.status != DeadLetterStatus.OPEN:
                raise _closed(tx, letter)
            keep_snapshot(tx, letter)
            write(tx, letter)
            moves.schedule_dispatches(tx)
        return read(tx.connection, letter.id)

    return ledger.write(change)


def _is_done(tx: Transaction, letter: AnyRow, action: OperatorAction) -> bool:
    """Say whether this was done before, by a try whose commit got no answer."""
    if letter.kind == DeadLetterKind.MESSAGE:  # it has no actions: who closed it and why are its owner and note
        closed_as = (letter.status, letter.owner, letter.note)
        return closed_as == (DeadLetterStatus.CANCELLED, action["actor"], action["reason"])
    return actions.is_noted(tx.connection, action["action_id"])


def _job_of(tx: Transaction, letter: AnyRow) -> AnyRow:
    job = jobs.call_of(tx.connection, letter.job_id)
    if job.kind not in RUNNABLE:
        next_step = (
            f"Its members run again with: agentq dead-letters replay {letter.id}; it goes on with those that are "
            f"there with: agentq dead-letters resolve {letter.id}, without a result"
            if letter.error_category == MISSING_MEMBERS
            else f"An each() that got no list cannot go on. Cancel it with: agentq dead-letters cancel {letter.id}"
        )
        raise StateConflict(
            f"the kind of job {job.id}", expected=["step", "task"], found=job.kind, next_step=next_step
        )
    return job


def _require_fan_in(tx: Transaction, letter: AnyRow) -> None:
    kind = jobs.kind_of(tx.connection, letter.job_id)
    if kind not in FAN_INS:
        raise InvalidArguments(f"job {letter.job_id} is a {kind}: give the result that it should have returned")


def _no_job(letter: AnyRow) -> StateConflict:
    return StateConflict(
        f"the kind of dead letter {letter.id}",
        expected=[DeadLetterKind.JOB],
        found=letter.kind,
        next_step="Messages that no worker can take can only be cancelled, with: agentq dead-letters cancel "
        f"{letter.id}",
    )


def _closed(tx: Transaction, letter: AnyRow) -> StateConflict:
    newer = letter_queries.open_of(tx.connection, letter.job_id)
    return StateConflict(
        f"dead letter {letter.id}",
        expected=[DeadLetterStatus.OPEN],
        found=letter.status,
        next_step=f"Its job failed again: decide about dead letter {newer}."
        if newer
        else f"Who decided, and why: agentq dead-letters show {letter.id}",
    )
