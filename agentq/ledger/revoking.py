"""Celery's revoke, written to the ledger: by whoever revokes, and by the workers that hear of it."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import Connection, select

from agentq.ledger import actions, transition
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.records import Bell
from agentq.ledger.workflows import cancel, cancel_job
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


def revoke(connection: Connection, id_: uuid.UUID, *, terminate: bool) -> list[Bell]:
    """Cancel the job or the workflow with this id and return the bells of what goes on without it.

    Without *terminate* a job that runs may end its attempt, as in Celery; it is not tried again.
    """
    # Locked, as for a cancel: an outcome that is under way comes first.
    found = select(JobRow.workflow_id, JobRow.status).where(JobRow.id == id_)
    job = connection.execute(found.with_for_update(key_share=True)).one_or_none()
    if job is None:
        cancel(connection, id_, actor=_ACTOR, reason=_REASON)
        return []
    if terminate or job.status != JobStatus.RUNNING:
        return cancel_job(connection, id_, actor=_ACTOR, reason=_REASON) or []
    # Once, however many hear of it: whoever revokes, and each worker.
    if transition.expire_running(connection, id_):
        actions.note(connection, job.workflow_id, id_, "revoke job", actor=_ACTOR, reason=_REASON)
    return []
