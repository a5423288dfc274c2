"""Jobs whose time has come: steps are queued, and sleeps end."""

from __future__ import annotations

import json
import uuid
from functools import partial

from sqlalchemy import select

from agentq.ledger import moves
from agentq.ledger.handover import Done, dispatch_queued, hand_over
from agentq.ledger.models import JobRow
from agentq.ledger.results import collect_results
from agentq.ledger.transaction import Transaction, Transactions


def go_on(ledger: Transactions, most: int) -> int:
    """Let up to *most* jobs go on whose time has come; returns how many.

    Each sleep ends in a transaction of its own: two caretakers that counted several into fan-ins could wait for
    each other in a circle.
    """
    queued, sleeps = ledger.write(lambda tx: _dispatch_due(tx, most))
    for job_id in sleeps:
        ledger.write(partial(end_sleep, job_id=job_id))
    return queued + len(sleeps)


def end_sleep(tx: Transaction, job_id: uuid.UUID) -> None:
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


def _dispatch_due(tx: Transaction, most: int) -> tuple[int, list[uuid.UUID]]:
    due, sleeps = moves.queue_due(tx, most)
    dispatch_queued(tx, due)
    return len(due), sleeps
