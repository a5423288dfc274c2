"""Jobs whose time has come."""

from __future__ import annotations

from agentq.ledger import moves
from agentq.ledger.handover import dispatch_queued
from agentq.ledger.transaction import Transaction


def dispatch_due(tx: Transaction, most: int) -> int:
    """Dispatch up to *most* jobs whose time has come; returns how many."""
    due = moves.queue_due(tx, most)
    dispatch_queued(tx, due)
    return len(due)
