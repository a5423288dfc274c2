"""Hand-over: in the transaction that records a job's outcome, make the jobs that waited for it ready."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, select

from agentq.ledger import transition
from agentq.ledger.burial import bury
from agentq.ledger.growth import Fed, Place, Planting
from agentq.ledger.models import JobRow
from agentq.ledger.records import Bell, bell
from agentq.ledger.types import AnyRow
from agentq.outcomes import Failure
from agentq.states import VIRTUAL, JobKind, JobStatus, WorkflowStatus
from agentq.workflows.graph import Graph


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has just succeeded. ``result`` is None for joins: theirs is gathered where it is needed."""

    job_id: uuid.UUID
    workflow_id: uuid.UUID
    join_id: uuid.UUID | None
    is_last: bool
    result: str | None = None


def hand_over(connection: Connection, *done: Done) -> list[Bell]:
    """Make ready what waited for *done*, and on through joins; returns the bells to ring after the commit."""
    bells: list[Bell] = []
    finished = list(done)
    while finished:
        job = finished.pop()
        for row in transition.ready_successors(connection, job.job_id):
            if row.kind == JobKind.EACH:
                finished += _grow_after(connection, row, job, bells)
            elif row.kind == JobKind.JOIN:
                finished += _finish_if_complete(connection, row)
            elif row.status == JobStatus.QUEUED:
                bells.append(bell(row))
        if job.join_id is not None:
            finished += _count_into(connection, job.join_id)
        if job.is_last:
            transition.end_workflow(connection, job.workflow_id, WorkflowStatus.SUCCEEDED)
    return bells


def finish_empty(connection: Connection, planting: Planting, where: Place) -> list[Done]:
    """Finish the fan-ins of nothing that were just planted."""
    finished = []
    for row in planting.rows:
        if row["id"] in planting.empty and transition.finish_virtual(connection, row["id"]):
            finished.append(Done(row["id"], where.workflow_id, row["join_id"], row["is_last"]))
    return finished


def gather(connection: Connection, job_id: uuid.UUID) -> str:
    """Return the result of a done job as JSON text; for a join, the ordered list of its members' results."""
    job = connection.execute(select(JobRow.kind, JobRow.result).where(JobRow.id == job_id)).one()
    return _result_of(connection, job_id, job.kind, job.result)


def _result_of(connection: Connection, job_id: uuid.UUID, kind: str, result: str | None) -> str:
    if kind not in VIRTUAL:
        return result or "null"
    members = connection.execute(
        select(JobRow.id, JobRow.kind, JobRow.result).where(JobRow.join_id == job_id).order_by(JobRow.position)
    ).all()
    return f"[{','.join(_result_of(connection, *member) for member in members)}]"


def _grow_after(connection: Connection, each: AnyRow, before: Done, bells: list[Bell]) -> list[Done]:
    items = gather(connection, before.job_id) if before.result is None else before.result
    fed = Fed(each.id, Graph.from_data(json.loads(each.template)), json.loads(items))
    place = Place(each.workflow_id, each.tenant, is_plain=each.is_plain and each.join_id is None)
    return _grow(connection, fed, place, each.dispatched_at, bells)


def _grow(connection: Connection, fed: Fed, where: Place, rung_at: datetime, bells: list[Bell]) -> list[Done]:
    if not isinstance(fed.items, list):
        _fail_each(connection, fed, where.workflow_id)
        return []
    planting = Planting()
    for position, item in enumerate(fed.items):
        planting.plant(fed.template, replace(where, join_id=fed.each_id, position=position), (item,))
    planting.write(connection)
    bells += planting.bells(rung_at)
    row = transition.count_on(connection, fed.each_id, len(fed.items))
    finished = _finish_if_complete(connection, row) + finish_empty(connection, planting, where)
    for inner in planting.fed:
        finished += _grow(connection, inner, replace(where, is_plain=False), rung_at, bells)
    return finished


def _fail_each(connection: Connection, fed: Fed, workflow_id: uuid.UUID) -> None:
    kind = type(fed.items).__name__
    message = f"each() needs a list from the step before it, but got {kind}; return a list there"
    failure = Failure("invalid_input", "agentq.exceptions.InvalidArguments", message)
    if transition.fail_virtual(connection, fed.each_id, failure):
        bury(connection, workflow_id, fed.each_id)


def _count_into(connection: Connection, join_id: uuid.UUID) -> list[Done]:
    row = transition.count_down(connection, join_id)
    return _finish_if_complete(connection, row)


def _finish_if_complete(connection: Connection, row: AnyRow | None) -> list[Done]:
    if row is None or row.remaining > 0 or not transition.finish_virtual(connection, row.id):
        return []
    return [Done(row.id, row.workflow_id, row.join_id, row.is_last)]
