"""Sleeps that are over: each ends in a transaction of its own, which hands over what the sleep was given.

Two transactions that counted several sleeps into fan-ins could wait for each other in a circle.
"""

from __future__ import annotations

import json
import uuid

from sqlalchemy import select

from agentq.ledger import moves
from agentq.ledger.handover import Done, hand_over
from agentq.ledger.models import JobRow
from agentq.ledger.results import collect_results
from agentq.ledger.transaction import Transaction


def end(tx: Transaction, job_id: uuid.UUID) -> None:
    """End a sleep that is over, with the result of what is before it, and hand over; nothing if it has ended."""
    found = select(JobRow.after_id, JobRow.arguments).where(JobRow.id == job_id)
    sleep = tx.connection.execute(found).one_or_none()
    if sleep is None:
        return
    if sleep.after_id is not None:
        result = collect_results(tx.connection, sleep.after_id)
    else:
        items, _ = json.loads(sleep.arguments)
        result = json.dumps(items[0] if items else None)
    ended = moves.end_sleep(tx, job_id, result)
    if ended is not None:
        hand_over(tx, Done(ended.id, ended.workflow_id, ended.join_id, ended.is_last, result))
