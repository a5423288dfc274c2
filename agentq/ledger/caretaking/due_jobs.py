"""Jobs whose time has come: steps are dispatched, and sleeps end."""

from __future__ import annotations

from agentq.ledger import moves
from agentq.ledger.after_commit import EndSleep
from agentq.ledger.handover import dispatch_queued
from agentq.ledger.transaction import Transaction


def dispatch_due(tx: Transaction, most: int) -> int:
    """Dispatch up to *most* jobs whose time has come, and end the sleeps among them; returns how many."""
    queued, sleeps = moves.queue_due(tx, most)
    dispatch_queued(tx, queued)
    tx.then(*map(EndSleep, sleeps))
    return len(queued) + len(sleeps)
