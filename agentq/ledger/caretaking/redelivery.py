"""Jobs whose message may be lost: found by queue, and sent again."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from agentq.ledger import moves
from agentq.ledger.db.leaps import distinct
from agentq.ledger.handover import dispatch_queued
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import JobRow
from agentq.ledger.moves import Overtaken
from agentq.ledger.records import Bell, bell
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus

_queues = distinct(JobRow.queue, JobRow.status == JobStatus.QUEUED)
UNCLAIMED_QUEUES = select(_queues).where(
    select(JobRow.id).where(moves.UNCLAIMED, JobRow.queue == _queues.c.queue).exists()
)
"""The queues in which nobody came for a job."""


def queues_with_unclaimed(connection: Connection, grace: float) -> list[str]:
    """Return the queues in which a job's last bell was rung over *grace* seconds ago, and nobody came.

    Its message may be lost, or just wait its turn. The grace grows after each ringing.
    """
    return [str(queue) for queue in connection.scalars(UNCLAIMED_QUEUES, {"grace": grace})]


def ring_again(
    tx: Transaction,
    queue: str,
    grace: float,
    most: int,
    overtaken: Overtaken | None = None,
    in_hand: Collection[uuid.UUID] = (),
    knows: Knowledge | None = None,
) -> list[Bell]:
    """Dispatch up to *most* unclaimed jobs of a queue once more, and return them.

    *overtaken* narrows it to jobs that later messages have overtaken; *in_hand* are jobs whose messages the
    caller has, and *knows* what it can run: whoever cannot run a job has no cause to call for it.
    """
    found = moves.ring_again(tx, queue, grace, overtaken, in_hand, most, knows)
    again = [bell(row) for row in found]
    tx.dispatch(*again)
    return again


def pass_on(tx: Transaction, jobs: Sequence[uuid.UUID]) -> None:
    """Dispatch those *jobs* that are still queued to another worker."""
    dispatch_queued(tx, moves.pass_on(tx, jobs))
