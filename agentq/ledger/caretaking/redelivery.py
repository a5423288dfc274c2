"""Jobs whose message may be lost: found by queue, and sent again."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from agentq.ledger import moves
from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.handover import dispatch_queued
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import JobRow
from agentq.ledger.moves import Overtaken
from agentq.ledger.records import Dispatch, dispatch_of
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus

_queues = distinct_by_index(JobRow.queue, JobRow.status == JobStatus.QUEUED)
UNCLAIMED_QUEUES = select(_queues).where(
    select(JobRow.id).where(moves.UNCLAIMED, JobRow.queue == _queues.c.queue).exists()
)
"""The queues with a job that no worker has claimed."""


def queues_with_unclaimed(connection: Connection, grace: float) -> list[str]:
    """Return the queues with a job that was last dispatched over *grace* seconds ago and is not claimed.

    Its message may be lost, or just wait its turn. The grace grows with each dispatch.
    """
    return [str(queue) for queue in connection.scalars(UNCLAIMED_QUEUES, {"grace": grace})]


def redispatch(
    tx: Transaction,
    queue: str,
    grace: float,
    most: int,
    overtaken: Overtaken | None = None,
    reserved: Collection[uuid.UUID] = (),
    knows: Knowledge | None = None,
) -> list[Dispatch]:
    """Dispatch up to *most* unclaimed jobs of a queue once more, and return them.

    *overtaken* narrows it to jobs that later messages have overtaken; *reserved* are jobs whose messages the
    caller has, and *knows* the steps and tasks it can run: a worker redispatches only jobs that it can run.
    """
    found = moves.redispatch(tx, queue, grace, overtaken, reserved, most, knows)
    again = [dispatch_of(row) for row in found]
    tx.dispatch(*again)
    return again


def pass_on(tx: Transaction, jobs: Sequence[uuid.UUID]) -> None:
    """Dispatch those *jobs* that are still queued to another worker."""
    dispatch_queued(tx, moves.pass_on(tx, jobs))
