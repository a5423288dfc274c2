"""Jobs that are moved to another queue."""

from __future__ import annotations

import json
import uuid

from sqlalchemy import select

from agentq.exceptions import NotFound
from agentq.ledger import actions, moves
from agentq.ledger.after_commit import Admit
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.ledger.transaction import Transaction
from agentq.policies.limits import limit_of_queue
from agentq.states import JobStatus


def move_job(
    tx: Transaction,
    job_id: uuid.UUID,
    queue: str,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID | None = None,
) -> JobStatus | None:
    """Move a job that has not begun to another queue; one that waits for a worker is dispatched at once.

    A job that is moved out of an ordered queue leaves its line, and one that is moved into one stands in its line.
    The message that was sent for it finds nothing to claim. Returns the status that does not let it, None where it
    was moved. Raises NotFound.
    """
    # Locked, so that a claim that is under way has ended, one way or the other, before it is decided.
    slots = (JobRow.limits, JobRow.tokens, JobRow.held, JobRow.is_outstanding)
    columns = (JobRow.id, JobRow.workflow_id, JobRow.queue, JobRow.status, *slots)
    found = select(*columns).where(JobRow.id == job_id)
    job = tx.connection.execute(found.with_for_update(key_share=True)).one_or_none()
    if job is None:
        raise NotFound(f"no job has the id {job_id}; list them with: agentq jobs list")
    if job.queue == queue and action_id is not None and actions.is_noted(tx.connection, action_id):
        return None
    if not _move(tx, job, queue):
        return JobStatus(job.status)
    details = json.dumps({"queue": job.queue})
    who = {"actor": actor, "reason": reason}
    actions.note(tx, job.workflow_id, job_id, "move job", details=details, action_id=action_id, **who)
    return None


def _move(tx: Transaction, job: AnyRow, queue: str) -> bool:
    if job.limits == []:  # they get their names later, that of the queue among them
        return moves.move_job(tx, job.id, queue)
    before = job.limits or []
    others = [name for name in before if name != limit_of_queue(job.queue)]
    ordered = limit_of_queue(queue)
    limits = sorted({*others, ordered}) if moves.has_limit(tx, ordered) else others
    if limits == before:
        return moves.move_job(tx, job.id, queue)
    tx.then(*map(Admit, before[: job.held]))
    return moves.move_into_line(tx, job, queue, limits)
