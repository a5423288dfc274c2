"""The lines of caps in which postponed workflows stand."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, bindparam, func, literal_column, select

from agentq.ledger.backlog import count_open, count_waiting
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import TenantRow, WorkflowRow
from agentq.ledger.moves.postponed import IN_LINE_OF_CAP, POSTPONED
from agentq.states import JOB_MOVING, BlockedBy, JobStatus

MOST = 1_000
"""Workflows in one line up to which places are counted."""

_COLUMNS = (WorkflowRow.id, WorkflowRow.postponed_on, WorkflowRow.max_open, WorkflowRow.max_backlog)
_in_line = (
    select(*_COLUMNS)
    .where(IN_LINE_OF_CAP)
    .order_by(WorkflowRow.created_at, WorkflowRow.id)
    .limit(bindparam("most", type_=Integer()))
    .offset(literal_column("0"))
)
_counted = _in_line.subquery()
_COUNT = select(func.count()).select_from(_counted)


@dataclass(frozen=True, slots=True)
class Awaited:
    """The cap that a postponed workflow waits for."""

    cap: str
    of: str
    """The tenant, or the step."""
    counted: int
    """Of its open workflows, or of its jobs that wait, up to the cap."""
    most: int | None
    """The cap; None where there is none any more."""
    place: int | None
    """The place of the workflow in the line, from 1; None after MOST others."""


def awaited_by(connection: Connection, jobs: Sequence[AnyRow]) -> dict[uuid.UUID, Awaited]:
    """Return the cap that each of these jobs waits for, whose workflow is postponed; by the job's id.

    These are the blocked ones, and of a workflow of which no job moves, those that wait. Asks nothing where there
    is none.
    """
    moving = {job.workflow_id for job in jobs if job.status in JOB_MOVING}
    held = [job for job in jobs if _is_blocked(job) or _is_left(job, moving)]
    if not held:
        return {}
    wanted = WorkflowRow.id.in_({job.workflow_id for job in held})
    workflows = connection.execute(select(*_COLUMNS).where(wanted, POSTPONED)).all()
    lines = {line: _line(connection, line) for line in {row.postponed_on for row in workflows}}
    caps = {row.id: _awaited(row.id, *lines[row.postponed_on]) for row in workflows}
    return {job.id: caps[job.workflow_id] for job in held if job.workflow_id in caps}


def count(connection: Connection, line: str, most: int) -> int:
    """Return how many workflows stand in a line, up to *most*."""
    return connection.scalar(_COUNT, {"line": line, "most": most}) or 0


def _is_blocked(job: AnyRow) -> bool:
    return bool(job.status == JobStatus.BLOCKED and job.blocked_by == BlockedBy.BACKLOG)


def _is_left(job: AnyRow, moving: Collection[uuid.UUID]) -> bool:
    """Say whether a job waits in a workflow of which none of the jobs before it is left, as these are missing."""
    return job.status == JobStatus.WAITING and job.workflow_id not in moving


def _line(connection: Connection, line: str) -> tuple[str, str, int, int | None, Mapping[uuid.UUID, int]]:
    cap, of = line.split(":", 1)
    first = connection.execute(_in_line, {"line": line, "most": MOST}).all()
    places = {row.id: place for place, row in enumerate(first, 1)}
    if cap == "max_backlog":
        most = first[0].max_backlog if first else None
        return cap, of, 0 if most is None else count_waiting(connection, of, most).counted, most, places
    by_operator = connection.scalar(select(TenantRow.max_open).where(TenantRow.tenant == of))
    most = by_operator if by_operator is not None or not first else first[0].max_open
    return cap, of, count_open(connection, of, MOST if most is None else most).counted, most, places


def _awaited(
    workflow_id: uuid.UUID, cap: str, of: str, counted: int, most: int | None, places: Mapping[uuid.UUID, int]
) -> Awaited:
    return Awaited(cap, of, counted, most, places.get(workflow_id))
