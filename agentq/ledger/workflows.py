"""Workflows in the ledger: start, read, cancel."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Float, and_, bindparam, case, cast, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from agentq.exceptions import KeyConflict, NotFound
from agentq.ids import new_id
from agentq.ledger import actions, transition
from agentq.ledger.growth import Place, Planting, insert_after
from agentq.ledger.handover import finish_empty, hand_over, leave_out
from agentq.ledger.history import note_interrupted
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.prepared import Prepared
from agentq.ledger.records import Bell, bell
from agentq.ledger.types import AnyRow, seconds_from_now
from agentq.outcomes import Failure
from agentq.states import JOB_FINAL, JobStatus, WorkflowStatus
from agentq.workflows.graph import Graph

_GIVEN = ("id", "tenant", "name", "status", "key", "fingerprint", "result_job_id", "policy")


def _values(prefix: str) -> dict[str, Any]:
    seconds = cast(bindparam(f"{prefix}deadline"), Float())  # PostgreSQL cannot guess the type
    given = {name: bindparam(f"{prefix}{name}", type_=WorkflowRow.__table__.c[name].type) for name in _GIVEN}
    return given | {"deadline_at": case((seconds.is_not(None), seconds_from_now(seconds)))}


_INSERT = {
    dialect.dialect.name: Prepared(
        dialect.insert(WorkflowRow).values(_values("")).on_conflict_do_nothing().returning(WorkflowRow.created_at)
    )
    for dialect in (postgresql, sqlite)
}
_INSERT_ONE = Prepared(
    insert_after(
        postgresql.insert(WorkflowRow)
        .values(_values("w_"))
        .on_conflict_do_nothing()
        .returning(WorkflowRow.id)
        .cte("workflow")
    )
)
"""PostgreSQL starts a workflow of one job with one statement."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a start led to: the workflow, and the bells to ring after the commit."""

    workflow_id: uuid.UUID
    is_new: bool
    bells: tuple[Bell, ...] = ()


class _EndedBefore(Exception):
    """Undoes a cancel that came too late."""


def start(
    connection: Connection,
    graph: Graph,
    *,
    tenant: str,
    key: str | None,
    policy: str | None = None,
    deadline: float | None = None,
    workflow_id: uuid.UUID | None = None,
    job_id: uuid.UUID | None = None,
) -> Started:
    """Write a workflow with all its jobs, or find the one that the same (tenant, key) started before.

    *policy* is a retry policy for all its jobs, as JSON text; *deadline* in seconds from now. *workflow_id* is
    the same each time that one start is tried: so a start whose commit got no answer finds its own workflow.
    *job_id*, of the first node, is given where a caller already named it.

    Raises KeyConflict where the key was used for a different canvas.
    """
    workflow_id = workflow_id or new_id()
    fingerprint = graph.fingerprint()
    ids = [new_id() for _ in graph.nodes]
    if job_id is not None:
        ids[0] = job_id
    values = {
        "id": workflow_id,
        "tenant": tenant,
        "name": graph.describe(),
        "status": WorkflowStatus.RUNNING,
        "key": key,
        "fingerprint": fingerprint,
        "result_job_id": ids[graph.result],
        "policy": policy,
        "deadline": deadline,
    }
    planting, place = Planting(), Place(workflow_id, tenant, is_last=True)
    planting.plant(graph, place, ids=ids)
    created_at = _write(connection, values, planting)
    if created_at is None:
        return _started_before(
            connection, workflow_id, tenant, key, fingerprint, graph, is_named=job_id is not None
        )
    bells = planting.bells(created_at)
    if planting.empty:
        bells += hand_over(connection, *finish_empty(connection, planting, place))
    return Started(workflow_id, True, tuple(bells))


def cancel(
    connection: Connection, workflow_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> bool:
    """Cancel a workflow and all its jobs that are not final; False where it had ended before.

    A worker that runs one of the jobs loses it: what it brings is discarded. *action_id* is the same each time
    that one cancel is tried: so one whose commit got no answer finds that it was done.
    """
    try:
        with connection.begin_nested():
            # In the order of every hand-over: jobs, then the workflow. So neither waits for the other in a circle.
            transition.cancel_jobs(connection, workflow_id)
            if not transition.end_workflow(connection, workflow_id, WorkflowStatus.CANCELLED, reason=reason):
                raise _EndedBefore
    except _EndedBefore:
        return action_id is not None and actions.is_noted(connection, action_id)
    while transition.cancel_jobs(connection, workflow_id):
        pass  # branches that an each was growing when the first statement looked
    note_interrupted(connection, workflow_id)
    actions.note(connection, workflow_id, None, "cancel", actor=actor, reason=reason, action_id=action_id)
    return True


def cancel_job(
    connection: Connection, job_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> list[Bell] | None:
    """Cancel a job and what needs it: the part of a fan-in that can be missing, or else its whole workflow.

    Returns the bells of what goes on without it; None where the job had ended before. Raises NotFound.
    """
    # Locked, so that a completion that is under way has ended, one way or the other, before it is decided.
    found = select(*transition.DEAD, JobRow.status).where(JobRow.id == job_id).with_for_update(key_share=True)
    job = connection.execute(found).one_or_none()
    if job is None:
        raise NotFound(f"no job has the id {job_id}; list them with: agentq jobs list")
    if action_id is not None and actions.is_noted(connection, action_id):
        return []
    if job.status in JOB_FINAL:
        return None
    bells: list[Bell] = []
    why = Failure("cancelled", "agentq.Cancelled", f"{actor} cancelled it: {reason}")
    if job.part_id is not None:
        bells = leave_out(connection, job, why)
    elif not cancel(connection, job.workflow_id, actor=actor, reason=f"job {job_id} was cancelled: {reason}"):
        # Of a workflow that has failed, other branches may still run.
        if not transition.cancel_job(connection, job_id, why):
            return None
        note_interrupted(connection, job.workflow_id)
    actions.note(
        connection, job.workflow_id, job_id, "cancel job", actor=actor, reason=reason, action_id=action_id
    )
    return bells


def give_up(connection: Connection, job: AnyRow, *, actor: str, why: Failure) -> list[Bell]:
    """Cancel all that needs a job that has just given up; *job* has the columns of DEAD."""
    if job.part_id is not None:
        return leave_out(connection, job, why)
    cancel(connection, job.workflow_id, actor=actor, reason=why.message)
    return []


def get(connection: Connection, workflow_id: uuid.UUID) -> AnyRow | None:
    """Return the workflow's row, or None."""
    return connection.execute(select(WorkflowRow.__table__).where(WorkflowRow.id == workflow_id)).one_or_none()


def is_one_statement(graph: Graph) -> bool:
    """Say whether ``start`` writes with one statement where the database can."""
    return len(graph.nodes) == 1


def _write(connection: Connection, workflow: dict[str, Any], planting: Planting) -> datetime | None:
    """Write a workflow and its jobs; returns the database's time, or None where its id or key is there already."""
    if len(planting.rows) == 1 and connection.dialect.name == "postgresql":
        prefixed = {f"w_{name}": value for name, value in workflow.items()}
        written = _INSERT_ONE.one_or_none(connection, prefixed | planting.rows[0])
        written_at: datetime | None = None if written is None else written.written_at
        return written_at
    created = _INSERT[connection.dialect.name].one_or_none(connection, workflow)
    if created is None:
        return None
    planting.write(connection)
    created_at: datetime = created.created_at
    return created_at


def _started_before(
    connection: Connection,
    workflow_id: uuid.UUID,
    tenant: str,
    key: str | None,
    fingerprint: str,
    graph: Graph,
    *,
    is_named: bool,
) -> Started:
    wanted = WorkflowRow.id == workflow_id
    if key is not None:
        wanted = or_(wanted, and_(WorkflowRow.tenant == tenant, WorkflowRow.key == key))
    found = connection.execute(
        select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.fingerprint).where(wanted)
    ).one()
    if found.fingerprint != fingerprint:
        raise KeyConflict(
            tenant=tenant,
            key=key or str(workflow_id),
            workflow_id=str(found.id),
            stored=f"{found.name!r} ({found.fingerprint[:12]})",
            given=f"{graph.describe()!r} ({fingerprint[:12]})",
        )
    unclaimed = select(*transition.BELL).where(
        JobRow.workflow_id == workflow_id, JobRow.status == JobStatus.QUEUED, JobRow.attempt == 0
    )
    is_mine = found.id == workflow_id and not is_named
    return Started(found.id, is_mine, tuple(bell(row) for row in connection.execute(unclaimed)))
