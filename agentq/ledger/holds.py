"""Slots that a running attempt takes for a part of its step, each as a hold of its own.

A slot is taken where one is free, whether or not jobs stand in the line: they need no worker while they wait. It
is freed by the end of the block, or when the attempt is over: by its worker, and where that died by a caretaker,
which finds the hold. A hold is freed once, by the transaction that deletes it.

Where the limit counts starts or tokens, the same statement pays for the start of the block, as the claim pays for
that of a job: both move the time at which the next one is due. What is paid stays paid.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import limits, moves
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction, Transactions
from agentq.outcomes import Cool
from agentq.policies.limits import Meters


@dataclass(frozen=True, slots=True)
class Full:
    """A limit that lets no block begin: the slots that are used, and those that there are, None for any number."""

    used: int
    slots: int | None
    due_in: float = 0.0
    """Seconds until its cooldown is over, and its starts and tokens let a block begin."""
    cools: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A block of a step before it begins: what it takes of a limit, and what code declares of that."""

    limit: str
    declared: Meters | None = None
    tokens: int | None = None
    """None where the step did not say."""
    within: float = 0.0
    """Seconds in which its start has to be due, for which it waits then."""


def take(ledger: Transactions, hold: uuid.UUID, claim: Claim, wanted: Wanted) -> float | Full:
    """Take a slot as *hold*, a new id, for a running attempt, and pay for its start; the seconds until that.

    A limit that is not in the ledger yet is written with what code declared. Run again, it finds its own hold.
    Raises KeyError for a limit that is neither there nor declared, StateConflict where the attempt is over, and
    InvalidArguments for a strict limit and a job without a hard timeout, and for tokens without a number.
    """
    return ledger.write(lambda tx: _take(tx, hold, claim, wanted))


def pay(ledger: Transactions, claim: Claim, wanted: Wanted) -> float | Full:
    """Pay for a further start of an attempt that holds a slot already; result and errors are those of ``take``.

    Where the reply is lost, and it is run again, the start is paid twice: never too many begin.
    """
    return ledger.write(lambda tx: _take(tx, None, claim, wanted))


def free(
    ledger: Transactions,
    hold: uuid.UUID,
    *,
    more_tokens: int = 0,
    cool: Cool | None = None,
    succeeded: bool = False,
) -> None:
    """Free the slot of a hold, and admit jobs that wait for it; nothing where it was freed before.

    Its block has used *more_tokens* than it had reserved; it *succeeded*, or a provider's refusal of its
    call closes the limit.
    """

    def work(tx: Transaction) -> list[str]:
        freed, awaited = moves.free_hold(tx, hold, succeeded=succeeded)
        if freed is not None and more_tokens:
            moves.reconcile(tx, {freed.name: more_tokens})
        if freed is not None and cool is not None:
            moves.cool(tx, freed.name, freed.created_at, cool.seconds, cool.reason, leaves=False)
        return awaited

    _admit(ledger, ledger.write(work))


def cool(ledger: Transactions, claim: Claim, limit: str, how: Cool) -> None:
    """Close a limit of an attempt's own job, as a call in its slot was refused; nothing where it is over."""

    def work(tx: Transaction) -> None:
        if moves.lock_own_job(tx, claim.job_id, claim.job_id, claim.attempt) is not None:
            moves.cool(tx, limit, claim.started_at, how.seconds, how.reason, leaves=False)

    ledger.write(work)


def free_all_of(ledger: Transactions, job_id: uuid.UUID, attempt: int) -> None:
    """Free all slots of an attempt whose code has ended, and admit jobs that wait for them."""
    _admit(ledger, ledger.write(lambda tx: moves.free_holds_of(tx, job_id, attempt)))


def _take(tx: Transaction, hold: uuid.UUID | None, claim: Claim, wanted: Wanted) -> float | Full:
    job = moves.lock_own_job(tx, hold or claim.job_id, claim.job_id, claim.attempt)
    if job is None:
        raise StateConflict(
            f"attempt {claim.attempt} of job {claim.job_id}",
            expected=["running"],
            found="over",
            next_step="Its outcome is not wanted any more, so it takes no slots: end the step.",
        )
    if job.begins_in is not None:
        return max(0.0, float(job.begins_in))
    limit, tokens = wanted.limit, wanted.tokens or 0
    taken = moves.take_slot(tx, limit, int(hold is not None), tokens, wanted.within)
    if taken is None:
        return _full(tx, hold, claim, wanted)
    _require_fit(taken, job, claim, wanted)
    if hold is not None:
        moves.hold(tx, hold, limit, claim.job_id, is_strict=taken.is_strict, begins_in=taken.begins_in)
    return float(taken.begins_in)


def _full(tx: Transaction, hold: uuid.UUID | None, claim: Claim, wanted: Wanted) -> float | Full:
    found = moves.slots_of(tx, wanted.limit, wanted.tokens or 0)
    if found is not None:
        return Full(found.used, found.slots, float(found.due_in), bool(found.cools))
    if wanted.declared is None:
        raise KeyError(wanted.limit)
    moves.declare(tx, {wanted.limit: wanted.declared})
    return _take(tx, hold, claim, wanted)


def _require_fit(taken: AnyRow, job: AnyRow, claim: Claim, wanted: Wanted) -> None:
    if taken.counts_tokens and wanted.tokens is None:
        raise InvalidArguments(
            f"limit {wanted.limit!r} counts tokens; say how many the block uses: "
            f"ctx.limit({wanted.limit!r}, tokens=1000)"
        )
    if taken.is_strict and job.hard_timeout is None:
        raise InvalidArguments(
            f"limit {wanted.limit!r} is strict, and step {claim.step!r} has no hard timeout, which says how long "
            "a lost attempt may run on; give the step one: @step(hard_timeout=…)"
        )


def _admit(ledger: Transactions, awaited: list[str]) -> None:
    for limit in awaited:
        limits.admit(ledger, limit)
