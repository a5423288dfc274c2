"""Starts: a graph becomes a workflow and its jobs, or the one that the same key started before."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from agentq.canvas.fingerprint import difference, fingerprint
from agentq.canvas.graph import Graph
from agentq.exceptions import BacklogFull, KeyConflict, LedgerError
from agentq.ids import new_id
from agentq.ledger import backlog, moves
from agentq.ledger.after_commit import LetIn
from agentq.ledger.backlog import Guard, Postponement, Room, full_step, full_tenant
from agentq.ledger.graphs import graph_of
from agentq.ledger.handover import dispatch_queued, finish_empty, hand_over
from agentq.ledger.insertion import NewWorkflow, insert_workflows, is_one_statement
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.rows import InsertionPoint, RowBuilder, postponed
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus, OnFull, WorkflowStatus

_MOST_WORKFLOWS = 500
"""Workflows of one statement."""
_TRIES = 5
"""The number of tries of a start whose key is taken by a workflow that is then gone."""
_ASKING = (Guard.NO_CAP, Guard.ROOM)
"""The guards of starts that have to have room."""


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
        return not self.builder.empty and not self.graph.meters and is_one_statement(self.builder.rows)


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
        "caps": json.dumps(graph.caps) if graph.caps else None,
        "deadline": deadline,
    }
    return Plan(workflow, builder, point, job_id is not None, graph)


def start(
    tx: Transaction,
    graph: Graph,
    *,
    max_open: int | None = None,
    on_full: OnFull | None = OnFull.REFUSE,
    **options: Any,
) -> Started:
    """Start one workflow, as ``start_all`` does; *options* are those of ``plan``."""
    return start_all(tx, [plan(graph, **options)], max_open=max_open, on_full=on_full)[0]


def start_all(
    tx: Transaction,
    plans: Sequence[Plan],
    *,
    max_open: int | None = None,
    on_full: OnFull | None = OnFull.REFUSE,
) -> list[Started]:
    """Write workflows of one tenant with all their jobs, or find those that the same (tenant, key) started before.

    *max_open* is the cap of code on the tenant's open workflows. *on_full* is None for workflows that begin
    whatever the caps are.

    Raises KeyConflict where a key was used for a different canvas, and BacklogFull.
    """
    started = []
    for begin in range(0, len(plans), _MOST_WORKFLOWS):
        some, later = plans[begin : begin + _MOST_WORKFLOWS], plans[begin + _MOST_WORKFLOWS :]
        started += _start_some(tx, some, later, max_open, on_full)
    return started


def _start_some(
    tx: Transaction, plans: Sequence[Plan], later: Sequence[Plan], max_open: int | None, on_full: OnFull | None
) -> list[Started]:
    """Start *plans*, if there is room for them and for those that come *later*."""
    started: dict[uuid.UUID, Started] = {}
    left, postponement = plans, None
    guard = Guard.NONE if on_full is None else Guard.NO_CAP if max_open is None else Guard.ROOM
    for _ in range(_TRIES):
        coming = [*left, *later]
        is_full = guard in _ASKING and _full_step(tx, coming) is not None
        room = _room(plans[0], max_open, coming)
        written_at = {} if is_full else _insert(tx, left, guard, room, postponement)
        for plan in left:
            one = _started(tx, plan, written_at.get(plan.point.workflow_id), postponement)
            if one is not None:
                started[plan.point.workflow_id] = one
        left = [plan for plan in left if plan.point.workflow_id not in started]
        if not left:
            return [started[plan.point.workflow_id] for plan in plans]
        if guard is Guard.NO_CAP and not is_full:
            guard = Guard.ROOM  # an operator has set a cap, most likely
        elif guard in _ASKING:
            full = _full(tx, [*left, *later], max_open)
            if full is not None and on_full is OnFull.REFUSE:
                raise full
            if full is not None:
                guard, postponement = Guard.POSTPONE, backlog.postponement(full)
        # There is room by now; or what had a key was pruned between two statements, and the key is free.
    raise LedgerError(
        f"{_TRIES} times a start found its key taken or no room, and right after that neither; start again"
    )


def _full(tx: Transaction, coming: Sequence[Plan], max_open: int | None) -> BacklogFull | None:
    return _full_step(tx, coming) or full_tenant(tx.connection, _room(coming[0], max_open, coming))


def _room(plan: Plan, max_open: int | None, coming: Sequence[Plan]) -> Room:
    return {"of_tenant": plan.point.tenant, "max_open": max_open, "places": len(coming)}


def _full_step(tx: Transaction, coming: Sequence[Plan]) -> BacklogFull | None:
    caps = {step: most for plan in coming for step, most in plan.graph.caps.items()}
    places = Counter(step for plan in coming for step in plan.graph.caps)
    found = (full_step(tx.connection, step, caps[step], places[step]) for step in sorted(caps))
    return next(filter(None, found), None)


def _insert(
    tx: Transaction, plans: Sequence[Plan], guard: Guard, room: Room, postponement: Postponement | None
) -> dict[uuid.UUID, datetime]:
    moves.declare(tx, {name: meters for plan in plans for name, meters in plan.graph.meters.items()})
    jobs = [row for plan in plans for row in plan.builder.rows]
    jobs = jobs if postponement is None else [postponed(row) for row in jobs]
    return insert_workflows(tx, [plan.workflow for plan in plans], jobs, guard, room, postponement)


def _started(
    tx: Transaction, plan: Plan, written_at: datetime | None, postponement: Postponement | None
) -> Started | None:
    """Return the workflow of a plan, which was just written or is there; None where there is none."""
    if written_at is None:
        return _started_before(tx, plan)
    if postponement is None:
        _dispatch_first(tx, plan, written_at)
    else:
        tx.then(LetIn(postponement.line))  # there may be room by the time that others see it
    return Started(plan.point.workflow_id, True)


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
        select(WorkflowRow.id, WorkflowRow.name, WorkflowRow.fingerprint, WorkflowRow.postponed_on).where(wanted)
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
    if found.id == workflow_id and found.postponed_on is not None:
        tx.then(LetIn(found.postponed_on))
    return Started(found.id, is_mine)
