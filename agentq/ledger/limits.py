"""Limits: a job that is ready waits in a line for a slot of each of its limits, and needs no worker for that.

A job with limits that becomes ready is *blocked*, in the line of its first limit. ``enter`` runs after the commit
of that: it notes that the line is awaited, and admits the jobs whose turn it is. ``give_back`` runs after the
commit that ended an attempt: it frees the slots, and admits the next jobs. Where a process dies before it did so,
a caretaker does it: ``fill`` and ``enter_unawaited``.

A job takes all its slots or none, so that no two jobs wait for each other. One that was refused several times
keeps the slots before the full limit, in the order of the names, which is the same for all jobs: otherwise jobs
with that limit alone would overtake it for ever.

No wake-up is lost. A job is committed in its line before ``enter`` writes to the row of the limit, and a slot is
freed by a write to that row. The second of the two sees what the first one did.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import partial

from agentq.ledger import moves, postponed, sleeps
from agentq.ledger.after_commit import Admit, AfterCommit, Declare, EndSleep, Enter, GiveBack, LetIn
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import dispatch_of
from agentq.ledger.transaction import Transaction, Transactions
from agentq.policies.limits import Meters

_MOST_AT_ONCE = 500
"""Jobs that one call admits from one line; a caretaker goes on with the rest."""
_MOST_TOGETHER = 20
"""Jobs that one transaction admits."""
_MOST_REFUSALS = 3
"""Refusals after which a job keeps the slots before the one that is full."""


class _Next(Enum):
    """The fate of the first job in a line."""

    MOVED = auto()
    STAYS = auto()
    """There is none, or no slot for it."""
    NEEDS_MORE = auto()
    """It has other limits too, which are not to be locked now."""


def follow(ledger: Transactions, work: AfterCommit) -> None:
    """Do what follows a commit."""
    match work:
        case Declare(meters):
            ledger.write(lambda tx: moves.declare(tx, dict(meters)))
        case Enter(limit, tenant):
            enter(ledger, limit, tenant)
        case GiveBack(job_id):
            give_back(ledger, job_id)
        case Admit(limit):
            admit(ledger, limit)
        case LetIn(line):
            postponed.let_in(ledger, line)
        case EndSleep(job_id):
            ledger.write(lambda tx: sleeps.end(tx, job_id))


def enter(ledger: Transactions, limit: str, tenant: str) -> None:
    """Let the line of *limit* be awaited, where jobs of *tenant* were committed, and admit the first."""

    def work(tx: Transaction) -> _Next:
        moves.await_slot(tx, limit, tenant)
        return _admit_alone(tx, limit)

    if ledger.write(work) is not _Next.STAYS:
        admit(ledger, limit)


def give_back(ledger: Transactions, job_id: uuid.UUID) -> None:
    """Free the slots of a job that has ended or waits for its time, and admit the next."""

    def work(tx: Transaction) -> list[str]:
        awaited = moves.give_back(tx, job_id, 1)
        # Of several, each would be locked after those that the next job needs.
        is_done = len(awaited) == 1 and _admit_alone(tx, awaited[0]) is _Next.STAYS
        return [] if is_done else awaited

    for limit in ledger.write(work):
        admit(ledger, limit)


def admit(ledger: Transactions, limit: str, most: int = _MOST_AT_ONCE) -> int:
    """Admit the jobs whose turn it is in the line of *limit*: at most *most*, each in a transaction of its own.

    Returns how many it moved.
    """
    for moved in range(most):
        if ledger.write(lambda tx: _move_first(tx, limit)) is _Next.STAYS:
            return moved
    return most


def fill(ledger: Transactions) -> None:
    """Give back the slots that jobs left behind, and admit jobs wherever there is room: for a caretaker."""
    awaited = ledger.write(lambda tx: moves.give_back(tx, None, _MOST_AT_ONCE))
    awaited += ledger.write(lambda tx: moves.free_spent_holds(tx, _MOST_AT_ONCE))
    with_room = ledger.read_statement(lambda connection: moves.with_room(connection, _MOST_AT_ONCE))
    for limit in dict.fromkeys([*awaited, *with_room]):
        admit(ledger, limit)


def pace(ledger: Transactions, limit: str, pacer: uuid.UUID, pause: float = 0.0) -> tuple[int, float] | None:
    """Admit the jobs of *limit* that can start soon, for the caretaker *pacer*.

    Returns how many were admitted, and the seconds until the next one may be: at least *pause*, where none was
    admitted now. None where another caretaker paces it, or no job waits.
    """

    if ledger.is_postgresql:
        paced = ledger.write_statement(lambda tx: _admit_paced(tx, limit, pacer, pause))
        if paced is not None and paced.is_complete:
            return len(paced.admitted), paced.seconds

    def work(tx: Transaction) -> tuple[_Next, int, float | None]:
        if not moves.take_pace(tx, limit, pacer):
            return _Next.STAYS, 0, None
        admitted, found = 0, _Next.MOVED
        while admitted < _MOST_TOGETHER and found is _Next.MOVED:
            found = _move_first(tx, limit, alone=True)
            admitted += found is _Next.MOVED
        return found, admitted, moves.keep_pace(tx, limit, pacer, 0.0 if admitted else pause)

    found, admitted, seconds = ledger.write(work)
    if found is not _Next.STAYS:
        admitted += admit(ledger, limit)
        seconds = ledger.write(lambda tx: moves.keep_pace(tx, limit, pacer, 0.0 if admitted else pause))
    return None if seconds is None else (admitted, seconds)


def _admit_paced(tx: Transaction, limit: str, pacer: uuid.UUID, pause: float) -> moves.Paced | None:
    paced = moves.admit_paced(tx, limit, pacer, pause)
    if paced is not None:
        tx.dispatch(*map(dispatch_of, paced.admitted))
    return paced


def enter_unawaited(ledger: Transactions, meters_of: Callable[[str], Meters | None] = lambda limit: None) -> None:
    """Let lines be awaited whose jobs were committed by a process that then died: for a caretaker.

    A limit that was deleted while a start named it is entered again, with its *meters_of* the caller's code; None
    where that does not know it. The turns of tenants whose last jobs were cancelled, or moved to another line,
    become idle.
    """
    found = {limit: meters_of(limit) for limit in ledger.read(moves.missing)}
    known = {limit: meters for limit, meters in found.items() if meters is not None}
    if known:
        ledger.write(lambda tx: moves.declare(tx, known))
    for limit, tenant in ledger.read(moves.unawaited):
        enter(ledger, limit, tenant)
    for limit in ledger.read(moves.with_stale_turns):
        ledger.write(partial(moves.rest_turns, limit=limit))


def chosen(job: AnyRow, locked: Mapping[str, AnyRow]) -> tuple[Sequence[str], str | None]:
    """Return the limits that a job takes a slot of now, and the first that is full, or None where none is.

    *job* has its limits in their order, of which it holds the first ``held``; *locked* are their rows.
    """
    lacked, tokens = job.limits[job.held :], moves.tokens_by_limit(job)
    full = next((name for name in lacked if not _has_room(locked.get(name), tokens[name])), None)
    if full is None:
        return lacked, None
    before = lacked[: lacked.index(full)]
    may_keep = job.refused >= _MOST_REFUSALS and all(locked[name].kept_for in (None, job.id) for name in before)
    return (before if may_keep else ()), full


def _has_room(limit: AnyRow | None, tokens: int) -> bool:
    """Say whether a locked limit has room for a job that is expected to use *tokens*."""
    if limit is None or limit.room < 1:
        return False
    # One that needs more than may come at once waits until nothing is owed.
    more_than_owed = (tokens - max(limit.tokens_burst or 1, tokens)) * limit.tokens_gap
    return bool(limit.tokens_owed + more_than_owed <= moves.SOON)


def _admit_alone(tx: Transaction, limit: str) -> _Next:
    """Admit the jobs whose turn it is while they have no other limit than this one, which *tx* has locked.

    Up to _MOST_TOGETHER: others wait for that lock.
    """
    for _ in range(_MOST_TOGETHER):
        found = _move_first(tx, limit, alone=True)
        if found is not _Next.MOVED:
            return found
    return _Next.MOVED


def _move_first(tx: Transaction, limit: str, *, alone: bool = False) -> _Next:
    """Move the first job of a line on: to its queue, or into the line of another limit."""
    if not moves.has_room(tx, limit):
        return _Next.STAYS
    job = moves.lock_first_in_line(tx, limit)
    if job is None:
        moves.await_no_longer(tx, limit)
        return _Next.STAYS
    if alone and job.limits != [limit]:
        return _Next.NEEDS_MORE
    # With those of which it keeps a slot already: their rows change too, and come before in the order.
    taken, full = chosen(job, moves.lock_limits(tx, job.limits))
    if full == limit:
        return _Next.STAYS
    if full is not None:
        moves.refuse(tx, limit, job, full, taken)
        return _Next.MOVED
    admitted = moves.admit(tx, limit, job, taken)
    if admitted is None:
        return _Next.STAYS
    tx.dispatch(dispatch_of(admitted))
    return _Next.MOVED
