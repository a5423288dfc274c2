"""Slots that a running attempt takes for a part of its step, each as a hold of its own.

A slot is taken where one is free, whether or not jobs stand in the line: they need no worker while they wait. It
is freed by the end of the block, or when the attempt is over: by its worker, and where that died by a caretaker,
which finds the hold. A hold is freed once, by the transaction that deletes it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import limits, moves
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction, Transactions
from agentq.policies.limits import Meters


@dataclass(frozen=True, slots=True)
class Full:
    """A limit of which no slot is free: the slots that are used, and those that there are, None for any number."""

    used: int
    slots: int | None


def take(ledger: Transactions, hold: uuid.UUID, limit: str, claim: Claim, declared: Meters | None) -> Full | None:
    """Take a slot of *limit* as *hold*, a new id, for a running attempt; None where it has it now.

    A limit that is not in the ledger yet is written with what code declared. Run again, it finds its own hold.
    Raises KeyError for a limit that is neither there nor *declared*, StateConflict where the attempt is over, and
    InvalidArguments for a strict limit and a job without a hard timeout.
    """
    return ledger.write(lambda tx: _take(tx, hold, limit, claim, declared))


def free(ledger: Transactions, hold: uuid.UUID) -> None:
    """Free the slot of a hold, and admit jobs that wait for it; nothing where it was freed before."""
    _free(ledger, lambda tx: moves.free_hold(tx, hold))


def free_all_of(ledger: Transactions, job_id: uuid.UUID, attempt: int) -> None:
    """Free all slots of an attempt whose code has ended, and admit jobs that wait for them."""
    _free(ledger, lambda tx: moves.free_holds_of(tx, job_id, attempt))


def _take(tx: Transaction, hold: uuid.UUID, limit: str, claim: Claim, declared: Meters | None) -> Full | None:
    job = moves.lock_own_job(tx, hold, claim.job_id, claim.attempt)
    if job is None:
        raise StateConflict(
            f"attempt {claim.attempt} of job {claim.job_id}",
            expected=["running"],
            found="over",
            next_step="Its outcome is not wanted any more, so it takes no slots: end the step.",
        )
    if job.has_hold:
        return None
    taken = moves.take_slot(tx, limit)
    found = moves.slots_of(tx, limit) if taken is None else taken
    if found is None:
        if declared is None:
            raise KeyError(limit)
        moves.declare(tx, {limit: declared})
        return _take(tx, hold, limit, claim, declared)
    if found.is_timed:
        raise InvalidArguments(
            f"limit {limit!r} counts starts or tokens in a time, which a call inside a step cannot take; give the "
            "call a limit of its own: AgentQ(app, call_limits=[Concurrency(…)])"
        )
    if taken is None:
        return Full(found.used, found.slots)
    if taken.is_strict and job.hard_timeout is None:
        raise InvalidArguments(
            f"limit {limit!r} is strict, and step {claim.step!r} has no hard timeout, which says how long a lost "
            "attempt may run on; give the step one: @step(hard_timeout=…)"
        )
    moves.hold(tx, hold, limit, claim.job_id, is_strict=taken.is_strict)
    return None


def _free(ledger: Transactions, work: Callable[[Transaction], list[str]]) -> None:
    for limit in ledger.write(work):
        limits.admit(ledger, limit)
