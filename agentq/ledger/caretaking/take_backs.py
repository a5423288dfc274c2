"""Slots that are taken back from jobs whose queue no worker consumes, where other jobs wait for them."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial

from sqlalchemy import Connection

from agentq.ledger import knowledge, moves
from agentq.ledger.after_commit import Admit
from agentq.ledger.caretaking import redelivery
from agentq.ledger.transaction import Transaction, Transactions

_GRACE = 60.0
"""Seconds for which a job may wait for a worker of its queue to come; double after each time, up to eightfold."""
_MOST = 500
"""Jobs of one queue that are taken back at a time."""


def take_back(ledger: Transactions) -> dict[str, int]:
    """Take their slots from jobs that wait in vain, so that they go to the ends of their lines.

    Returns the number of these jobs by queue.
    """
    found = ledger.read(_waiting_in_vain)
    return dict(Counter(queue for queue, job_id in found if ledger.write(partial(_take_back, job_id=job_id))))


def _waiting_in_vain(connection: Connection) -> list[tuple[str, uuid.UUID]]:
    """Return queue and id of jobs that wait on a queue which no live worker consumes and hold slots."""
    queues = redelivery.queues_with_unclaimed(connection, _GRACE)
    live = knowledge.live(connection) if queues else knowledge.NO_WORKERS
    return [
        (queue, job_id)
        for queue in queues
        if not live.may_consume(queue)
        for job_id in moves.unclaimed_holders(connection, queue, _GRACE, _MOST)
    ]


def _take_back(tx: Transaction, job_id: uuid.UUID) -> bool:
    taken = moves.take_back(tx, job_id, _GRACE)
    if taken is None:
        return False
    first, *others = taken.limits
    tx.then(*map(Admit, [*others, first]))  # its own line last, or it would take the slots of all again
    return True
