"""Replays of dead letters: of one, and of many, each job so often at most."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import dead_letters as ledger_dead_letters
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries.dead_letters import replayed_below, replayed_from
from agentq.ledger.queries.selection import Selection
from agentq.ledger.transaction import Transaction
from agentq.operations import many
from agentq.operations.actors import operator_action
from agentq.operations.dead_letters.decisions import decide
from agentq.operations.dead_letters.queries import DeadLetterFilter, find_all, get, open_letters
from agentq.operations.schemas import DeadLetter, DeadLetterSummary, Replays
from agentq.states import MISSING_MEMBERS, DeadLetterKind, DeadLetterStatus

MOST_REPLAYS = 10


def replay(
    ledger: Ledger,
    letter_id: str,
    *,
    attempts: int | None = None,
    delay: float = 0,
    most_replays: int = MOST_REPLAYS,
    force: bool = False,
    actor: str = "",
    reason: str = "",
) -> DeadLetter:
    """Give a dead job new attempts; its workflow goes on where it stopped, joins included.

    Of a fan-in with missing members, all those run again.

    Args:
        ledger: where.
        letter_id: the dead letter's id or its job's.
        attempts: how many new attempts it has. Default: as many as its step allows.
        delay: seconds before the first of them.
        most_replays: how often one job may be replayed.
        force: replay it also where it was replayed so often.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the dead letter, closed. Raises NotFound, and StateConflict where it is not open (of two replays at
    once, one gets this), is no job's, or its job was replayed *most_replays* times.
    """
    if attempts is not None and not 1 <= attempts <= 1000:
        raise InvalidArguments(f"attempts is {attempts!r}; it must be 1 to 1000")
    if not 0 <= delay < 1e9:
        raise InvalidArguments(f"delay is {delay!r}; it must be seconds from 0 up")
    action = operator_action(actor, reason)

    def write(tx: Transaction, letter: AnyRow) -> None:
        if not force:
            _require_below(tx, letter, most_replays)
        ledger_dead_letters.replay(tx, letter.job_id, attempts=attempts, delay=delay, **action)

    return decide(ledger, letter_id, action, write)


def replay_all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    *,
    attempts: int | None = None,
    most: int = many.MOST,
    rate: float = 10.0,
    most_replays: int = MOST_REPLAYS,
    force: bool = False,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Replays:
    """Replay open dead letters of jobs, oldest first; a fan-in replays its missing members too.

    Args:
        ledger: where.
        wanted: which; its status is taken to be open.
        attempts: how many new attempts each has. Default: as many as its step allows.
        most: how many at most.
        rate: jobs per second that become due, so that what they failed of is not stormed.
        most_replays: how often one job may be replayed; those that were are left.
        force: replay those too.
        dry_run: only say which it would be, and which would be refused: each is tried, and taken back.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were replayed, or would be; up to *most* of those that were left since they had been
    replayed *most_replays* times; and those that were refused: since another person decided first,
    or nothing waits for their results any more. Each is a transaction of its own. Raises InvalidArguments.
    """
    if not 0 < rate <= 10_000:
        raise InvalidArguments(f"rate is {rate!r}; it must be over 0 jobs per second")
    letters = open_letters(wanted, kind=DeadLetterKind.JOB)
    worn = [] if force else _worn(ledger, letters, most_replays, most)
    fresh = letters if force else replayed_below(letters, most_replays)
    plan = Replays(**find_all(ledger, fresh, most), capped=worn)
    whole: set[uuid.UUID | None] = set()

    def again(where: Ledger, letter: DeadLetterSummary, before: int) -> DeadLetterSummary:
        delay = before / rate
        how: dict[str, Any] = {"attempts": attempts, "most_replays": most_replays, "force": force}
        try:
            done = replay(where, str(letter.id), delay=delay, actor=actor, reason=reason, **how)
        except StateConflict:
            now = get(ledger, str(letter.id))
            if letter.workflow_id in whole and now.status == DeadLetterStatus.REPLAYED:
                return now  # with the fan-in that lacked it
            raise
        if letter.error_category == MISSING_MEMBERS:
            whole.add(letter.workflow_id)
        return done

    if dry_run:
        return many.rehearse(ledger, plan, again)
    return many.carry_out(plan.model_copy(update={"done": _fan_ins_first(plan.done)}), partial(again, ledger))


def _fan_ins_first(letters: Sequence[DeadLetterSummary]) -> list[DeadLetterSummary]:
    """Put fan-ins with missing members before those members, which run again with them, outer ones first."""
    fan_ins = [letter for letter in letters if letter.error_category == MISSING_MEMBERS]
    return [*reversed(fan_ins), *(letter for letter in letters if letter.error_category != MISSING_MEMBERS)]


def _worn(ledger: Ledger, letters: Selection, most_replays: int, most: int) -> list[DeadLetterSummary]:
    rows = partial(replayed_from(letters, most_replays).rows, limit=most, oldest_first=True)
    return [DeadLetterSummary.model_validate(row) for row in ledger.read(rows)]


def _require_below(tx: Transaction, letter: AnyRow, most_replays: int) -> None:
    replays = ledger_dead_letters.replays(tx.connection, letter.job_id)
    if replays >= most_replays:
        raise StateConflict(
            f"job {letter.job_id}",
            expected=[f"below the limit of {most_replays}, max_replays,"],
            found=f"replayed {replays} time(s) already",
            next_step="Fix the cause, edit its arguments, or resolve it; or replay it all the same with --force.",
        )
