"""Starts: a graph becomes a workflow and its jobs, or the one that the same key started before."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from agentq.canvas.fingerprint import difference, fingerprint
from agentq.canvas.graph import Graph
from agentq.exceptions import KeyConflict, LedgerError
from agentq.ids import new_id
from agentq.ledger import moves
from agentq.ledger.graphs import graph_of
from agentq.ledger.handover import dispatch_queued, finish_empty, hand_over
from agentq.ledger.insertion import NewWorkflow, insert_workflows, is_one_statement
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.rows import InsertionPoint, RowBuilder
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus, WorkflowStatus

_MOST_WORKFLOWS = 500
"""Workflows of one statement."""
_TRIES = 5
"""The number of tries of a start whose key is taken by a workflow that is then gone."""


@dataclass(frozen=True, slots=True)
class Started:
    """The result of a start."""

    workflow_id: uuid.UUID
    is_new: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow that is to be started: its row and the rows of its jobs, the same each time that it is tried.

    So a start whose commit got no answer finds its own workflow.
    """

    workflow: NewWorkflow
    builder: RowBuilder
    point: InsertionPoint
    is_named: bool
    graph: Graph

    @property
    def is_one_statement(self) -> bool:
        """True if it is written with one statement on a database that can."""
        return not self.builder.empty and not self.graph.slots and is_one_statement(self.builder.rows)


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
    point = InsertionPoint(workflow_id or new_id(), tenant, is_last=True)
    builder = RowBuilder()
    builder.add(graph, point, ids=ids)
    workflow: NewWorkflow = {
        "id": point.workflow_id,
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
    return Plan(workflow, builder, point, job_id is not None, graph)


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


def _insert(tx: Transaction, plans: Sequence[Plan]) -> dict[uuid.UUID, datetime]:
    moves.declare(tx, {name: slots for plan in plans for name, slots in plan.graph.slots.items()})
    jobs = [row for plan in plans for row in plan.builder.rows]
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
    tx.dispatch(*plan.builder.dispatches(written_at))
    tx.then(*plan.builder.entered)
    if plan.builder.empty:
        hand_over(tx, *finish_empty(tx, plan.builder, plan.point))


def _started_before(tx: Transaction, plan: Plan) -> Started | None:
    """Return the workflow that has the key, or the id; None where there is none any more."""
    workflow_id, tenant, key = plan.workflow["id"], plan.workflow["tenant"], plan.workflow["key"]
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
        other = difference(graph_of(tx.connection, found.id, plan.builder.rows[0]["id"]), plan.graph)
        if other is not None:
            raise KeyConflict(
                tenant=tenant,
                key=key or str(workflow_id),
                workflow_id=str(found.id),
                name=found.name,
                difference=other,
            )
    unclaimed = select(*moves.DISPATCH).where(
        JobRow.workflow_id == workflow_id,
        JobRow.status.in_([JobStatus.QUEUED, JobStatus.BLOCKED]),
        JobRow.attempt == 0,
    )
    is_mine = found.id == workflow_id and not plan.is_named
    dispatch_queued(tx, tx.connection.execute(unclaimed))
    return Started(found.id, is_mine)
