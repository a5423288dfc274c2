"""Cooldowns: what an attempt whose call a provider refused does to the limits of its job."""

from __future__ import annotations

from agentq.ledger import moves
from agentq.ledger.after_commit import Admit
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Fail, RetryLater


def begin(tx: Transaction, claimed: Claim, outcome: RetryLater | Fail) -> None:
    """Let the limits cool that a refused call closes, and give back the slots of a job that waits in their line.

    For the end of a transaction: limits are locked after jobs.
    """
    cool, leaves = outcome.cool, isinstance(outcome, RetryLater) and outcome.in_line_of is not None
    if cool is None or not claimed.limits:
        return
    moves.lock_limits(tx, claimed.limits)  # in their order, whatever of them is written in which
    for name in claimed.limits:
        if name in cool.limits:
            moves.cool(tx, name, claimed.started_at, cool.seconds, cool.reason, leaves=leaves)
        elif leaves and moves.free(tx, name, claimed.started_at):
            tx.then(Admit(name))
