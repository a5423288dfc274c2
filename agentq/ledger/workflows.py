"""Workflows in the ledger: start, read, cancel."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from agentq.exceptions import KeyConflict, LedgerError, NotFound
from agentq.ids import new_id
from agentq.ledger import actions, transition
from agentq.ledger.graphs import graph_of
from agentq.ledger.growth import Place, Planting
from agentq.ledger.handover import finish_empty, hand_over, leave_out
from agentq.ledger.history import end_cancelled
from agentq.ledger.insertion import insert_workflows, is_one_statement
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.records import bell
from agentq.ledger.transaction import Transaction
from agentq.ledger.types import AnyRow
from agentq.outcomes import Failure
from agentq.states import JOB_FINAL, JobStatus, WorkflowStatus
from agentq.workflows.fingerprint import difference, fingerprint
from agentq.workflows.graph import Graph

_MOST_WORKFLOWS = 500
"""Workflows of one statement."""
_TRIES = 5
"""How often a start is tried that finds its key taken, and then nobody who has it."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a start led to."""

    workflow_id: uuid.UUID
    is_new: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow that is to be started: its row and the rows of its jobs, the same each time that it is tried.

    So a start whose commit got no answer finds its own workflow.
    """

    workflow: dict[str, Any]
    planting: Planting
    place: Place
    is_named: bool
    graph: Graph

    @property
    def is_one_statement(self) -> bool:
        """Whether it is written with one statement where the database can."""
        return not self.planting.empty and is_one_statement(self.planting.rows)


class _EndedBefore(Exception):
    """Undoes a cancel that came too late."""


def plan(
    graph: Graph,
    *,
    tenant: str,
    key: str | None,
    policy: str | None = None,
    terms: str | None = None,
    deadline: float | None = None,
    workflow_id: uuid.UUID | None = None,
    job_id: uuid.UUID | None = None,
) -> Plan:
    """Give ids to a workflow and its jobs.

    *policy* is a retry policy for all its jobs, and *terms* are what the caller knows of their steps, both as JSON
    text; *deadline* in seconds from its start. Ids are given where a caller already named them, *job_id* for the
    first node.
    """
    ids = [new_id() for _ in graph.nodes]
    if job_id is not None:
        ids[0] = job_id
    place = Place(workflow_id or new_id(), tenant, is_last=True)
    planting = Planting()
    planting.plant(graph, place, ids=ids)
    workflow = {
        "id": place.workflow_id,
        "tenant": tenant,
        "name": graph.describe(),
        "status": WorkflowStatus.RUNNING,
        "key": key,
        "fingerprint": fingerprint(graph),
        "result_job_id": ids[graph.result],
        "policy": policy,
        "terms": terms,
        "deadline": deadline,
    }
    return Plan(workflow, planting, place, job_id is not None, graph)


def start(tx: Transaction, graph: Graph, **options: Any) -> Started:
    """Start one workflow; *options* are those of ``plan``. Raises as ``start_all``."""
    return start_all(tx, [plan(graph, **options)])[0]


def start_all(tx: Transaction, plans: Sequence[Plan]) -> list[Started]:
    """Write workflows with all their jobs, or find those that the same (tenant, key) started before.

    Raises KeyConflict where a key was used for a different canvas.
    """
    started = []
    for begin in range(0, len(plans), _MOST_WORKFLOWS):
        some = plans[begin : begin + _MOST_WORKFLOWS]
        written_at = _insert(tx, some)
        started += [_started(tx, plan, written_at) for plan in some]
    return started


def cancel(
    tx: Transaction, workflow_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> bool:
    """Cancel a workflow and all its jobs that are not final; False where it had ended before.

    A worker that runs one of the jobs loses it: what it brings is discarded. *action_id* is the same each time
    that one cancel is tried: so one whose commit got no answer finds that it was done.
    """
    try:
        with tx.connection.begin_nested():
            # In the order of every hand-over: jobs, then the workflow. So neither waits for the other in a circle.
            transition.cancel_jobs(tx, workflow_id)
            if not transition.end_workflow(tx, workflow_id, WorkflowStatus.CANCELLED, reason=reason):
                raise _EndedBefore
    except _EndedBefore:
        return action_id is not None and actions.is_noted(tx.connection, action_id)
    while transition.cancel_jobs(tx, workflow_id):
        pass  # branches that an each was growing when the first statement looked
    end_cancelled(tx, workflow_id)
    actions.note(tx, workflow_id, None, "cancel", actor=actor, reason=reason, action_id=action_id)
    return True


def cancel_job(
    tx: Transaction, job_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> bool:
    """Cancel a job and what needs it: the part of a fan-in that can be missing, or else its whole workflow.

    What goes on without it is dispatched. False where the job had ended before. Raises NotFound.
    """
    # Locked, so that a completion that is under way has ended, one way or the other, before it is decided.
    found = select(*transition.DEAD, JobRow.status).where(JobRow.id == job_id).with_for_update(key_share=True)
    job = tx.connection.execute(found).one_or_none()
    if job is None:
        raise NotFound(f"no job has the id {job_id}; list them with: agentq jobs list")
    if action_id is not None and actions.is_noted(tx.connection, action_id):
        return True
    if job.status in JOB_FINAL:
        return False
    why = Failure("cancelled", "agentq.Cancelled", f"{actor} cancelled it: {reason}")
    if job.part_id is not None:
        leave_out(tx, job, why)
    elif not cancel(tx, job.workflow_id, actor=actor, reason=f"job {job_id} was cancelled: {reason}"):
        # Of a workflow that has failed, other branches may still run.
        if not transition.cancel_job(tx, job_id, why):
            return False
        end_cancelled(tx, job.workflow_id)
    actions.note(tx, job.workflow_id, job_id, "cancel job", actor=actor, reason=reason, action_id=action_id)
    return True


def give_up(tx: Transaction, job: AnyRow, *, actor: str, why: Failure) -> None:
    """Cancel all that needs a job that has just given up; *job* has the columns of DEAD."""
    if job.part_id is not None:
        leave_out(tx, job, why)
    else:
        cancel(tx, job.workflow_id, actor=actor, reason=why.message)


def get(connection: Connection, workflow_id: uuid.UUID) -> AnyRow | None:
    """Return the workflow's row, or None."""
    return connection.execute(select(WorkflowRow.__table__).where(WorkflowRow.id == workflow_id)).one_or_none()


def _insert(tx: Transaction, plans: Sequence[Plan]) -> dict[uuid.UUID, datetime]:
    jobs = [row for plan in plans for row in plan.planting.rows]
    return insert_workflows(tx, [plan.workflow for plan in plans], jobs)


def _started(tx: Transaction, plan: Plan, written_at: dict[uuid.UUID, datetime], tries: int = _TRIES) -> Started:
    if plan.workflow["id"] in written_at:
        _dispatch_first(tx, plan, written_at[plan.workflow["id"]])
        return Started(plan.workflow["id"], True)
    before = _started_before(tx, plan)
    if before is not None:
        return before
    if tries == 1:
        raise LedgerError(
            f"{_TRIES} times a start found its key taken, and the workflow with that key pruned; start again"
        )
    # What had the key was pruned between the two statements: the key is free now.
    return _started(tx, plan, _insert(tx, [plan]), tries - 1)


def _dispatch_first(tx: Transaction, plan: Plan, written_at: datetime) -> None:
    tx.dispatch(*plan.planting.bells(written_at))
    if plan.planting.empty:
        hand_over(tx, *finish_empty(tx, plan.planting, plan.place))


def _started_before(tx: Transaction, plan: Plan) -> Started | None:
    """Return the workflow that has the key, or the id; None where there is none any more."""
    workflow_id, tenant, key = (plan.workflow[name] for name in ("id", "tenant", "key"))
    wanted = WorkflowRow.id == workflow_id
    if key is not None:
        wanted = or_(wanted, and_(WorkflowRow.tenant == tenant, WorkflowRow.key == key))
    found = tx.connection.execute(
        select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.fingerprint).where(wanted)
    ).one_or_none()
    if found is None:
        return None
    if found.fingerprint != plan.workflow["fingerprint"]:
        # Code of another release may make another hash of the same work.
        other = difference(graph_of(tx.connection, found.id, plan.planting.rows[0]["id"]), plan.graph)
        if other is not None:
            raise KeyConflict(
                tenant=tenant,
                key=key or str(workflow_id),
                workflow_id=str(found.id),
                name=found.name,
                difference=other,
            )
    unclaimed = select(*transition.BELL).where(
        JobRow.workflow_id == workflow_id, JobRow.status == JobStatus.QUEUED, JobRow.attempt == 0
    )
    is_mine = found.id == workflow_id and not plan.is_named
    tx.dispatch(*(bell(row) for row in tx.connection.execute(unclaimed)))
    return Started(found.id, is_mine)
