"""Celery's revoke, written to the ledger: by the caller, and by the workers that receive it."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import Connection, select

from agentq.ledger import actions, moves
from agentq.ledger.cancels import cancel, cancel_job
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus

_ACTOR, _REASON = "celery", "it was revoked"
_AT_ONCE = 500


def known_among(connection: Connection, ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Return those of *ids* that are a job's or a workflow's; the others are Celery's own."""
    given, known = list(ids), set[uuid.UUID]()
    for begin in range(0, len(given), _AT_ONCE):
        some = given[begin : begin + _AT_ONCE]
        for row in (JobRow, WorkflowRow):
            known.update(connection.scalars(select(row.id).where(row.id.in_(some))))
    return [id_ for id_ in given if id_ in known]


def revoke(tx: Transaction, id_: uuid.UUID, *, terminate: bool) -> None:
    """Cancel the job or the workflow with this id; what goes on without it is dispatched.

    Without *terminate* a job that runs may end its attempt, as in Celery; it is not tried again.
    """
    # Locked, as for a cancel: an outcome that is under way comes first.
    found = select(JobRow.workflow_id, JobRow.status).where(JobRow.id == id_)
    job = tx.connection.execute(found.with_for_update(key_share=True)).one_or_none()
    if job is None:
        cancel(tx, id_, actor=_ACTOR, reason=_REASON)
    elif terminate or job.status != JobStatus.RUNNING:
        cancel_job(tx, id_, actor=_ACTOR, reason=_REASON)
    # Once, though both the process that revokes and each worker write it.
    elif moves.expire_running(tx, id_):
        actions.note(tx, job.workflow_id, id_, "revoke job", actor=_ACTOR, reason=_REASON)
