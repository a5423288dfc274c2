"""The moves of postponed workflows: in the line of a full cap, until they are let in.

A postponed workflow is written as any other, but its first jobs are blocked by the backlog, and it does not count
as open. ``postponed_on`` names the cap in whose line it stands, such as ``max_open:acme``. A fan-in that has no
members, or whose members are all missing by then, waits for the let-in too. Locks are taken in the order of every
hand-over: jobs, fan-ins, then the workflow.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Text, Uuid, and_, bindparam, literal_column, null, or_, select, update
from sqlalchemy.orm import aliased

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.handover import FAN_IN
from agentq.ledger.moves.ready import AFTER_OTHERS
from agentq.ledger.moves.shared import DISPATCH, MAY_END_NOW
from agentq.ledger.transaction import Transaction
from agentq.states import BlockedBy, JobKind, JobStatus, WorkflowStatus

LINE = bindparam("line", type_=Text())
_ONE = literal_column("1", Integer())
_IDS = bindparam("ids", type_=Uuid(), expanding=True)


def _postponed(workflow: Any) -> Any:
    return and_(workflow.postponed_on.is_not(None), workflow.status == WorkflowStatus.RUNNING)


def in_line_of_cap(line: Any) -> Any:
    """Say whether a workflow stands in this line."""
    return and_(POSTPONED, WorkflowRow.postponed_on == line)


POSTPONED = _postponed(WorkflowRow)
"""A workflow that waits for room."""
IN_LINE_OF_CAP = in_line_of_cap(LINE)
BLOCKED_BY_BACKLOG = and_(JobRow.status == JobStatus.BLOCKED, JobRow.blocked_by == BlockedBy.BACKLOG)
"""A job of a workflow that waits for room."""

_other = aliased(WorkflowRow)
ENDED_TENANT = literal_column("agentq_workflows.tenant", Text())
"""The tenant of the workflow that a statement ends: a column of a RETURNING in SQLite loses its table."""


def line_of_tenant(tenant: Any) -> Any:
    """Return the line of a tenant's cap, in SQL."""
    return literal_column("'max_open:'", Text()).concat(tenant)


def awaited_line(tenant: Any) -> Any:
    """Return the line of a tenant's cap where a workflow stands in it, or else NULL, in SQL."""
    found = select(_other.postponed_on).where(_postponed(_other), _other.postponed_on == line_of_tenant(tenant))
    # Of both databases, SQLite alone would bind the offset, to a name of its own.
    return found.limit(_ONE).offset(literal_column("0")).correlate_except(_other).scalar_subquery()


_FIRST = (
    select(WorkflowRow.id)
    .where(IN_LINE_OF_CAP)
    .order_by(WorkflowRow.created_at, WorkflowRow.id)
    .limit(bindparam("most"))
)
_is_first_fan_in = and_(JobRow.kind == JobKind.JOIN, JobRow.status == JobStatus.WAITING, JobRow.after_id.is_(None))
_LOCK_JOBS = (
    select(JobRow.id)
    .where(JobRow.workflow_id.in_(_IDS), or_(BLOCKED_BY_BACKLOG, _is_first_fan_in))
    # Those first that wait for no other; of the fan-ins that wait, an inner one has a lower id than the outer one.
    .order_by(~MAY_END_NOW, JobRow.id)
    .with_for_update(key_share=True)
)
_LOCK = (
    select(
        *(WorkflowRow.id, WorkflowRow.tenant, WorkflowRow.created_at),
        *(WorkflowRow.max_open, WorkflowRow.max_backlog, WorkflowRow.caps),
    )
    .where(WorkflowRow.id.in_(_IDS), IN_LINE_OF_CAP)
    .order_by(WorkflowRow.id)
    .with_for_update(key_share=True)
)
_LET_IN = update(WorkflowRow).where(WorkflowRow.id.in_(_IDS), POSTPONED).values(postponed_on=null())
_LET_JOBS_GO = (
    update(JobRow)
    .where(JobRow.workflow_id.in_(_IDS), BLOCKED_BY_BACKLOG)
    .values(AFTER_OTHERS)
    .returning(*DISPATCH)
)
_COMPLETE = select(*FAN_IN).where(JobRow.workflow_id.in_(_IDS), _is_first_fan_in, JobRow.remaining == 0)
_POSTPONE_ON = (
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("of_id", type_=Uuid()), POSTPONED)
    .values(postponed_on=LINE, max_backlog=bindparam("most_waiting", type_=Integer()))
)
_lines = distinct_by_index(
    WorkflowRow.postponed_on, and_(POSTPONED, WorkflowRow.postponed_on > bindparam("after", type_=Text()))
)
_LINES = select(_lines.c.postponed_on).where(_lines.c.postponed_on.is_not(None)).limit(bindparam("most"))


def lines_of_caps(connection: Connection, after: str, most: int) -> list[str]:
    """Return up to *most* lines in which workflows stand, by name, those that come *after* one."""
    found = connection.scalars(_LINES, {"after": after, "most": most})
    return [line for line in found if line is not None]


def lock_postponed(tx: Transaction, line: str, most: int) -> list[AnyRow]:
    """Lock up to *most* workflows that come first in a line, with their jobs; returns those still there.

    Others that let workflows in wait here: so what they count afterwards has what was let in before. So do those
    that lose a member of a fan-in: of these and the let-in, the later one sees that the other was done.
    """
    ids = tx.connection.scalars(_FIRST, {"line": line, "most": most}).all()
    if not ids:
        return []
    tx.connection.execute(_LOCK_JOBS, {"ids": ids})
    locked = tx.connection.execute(_LOCK, {"ids": ids, "line": line}).all()
    return sorted(locked, key=lambda row: (row.created_at, row.id))


def let_in(tx: Transaction, ids: Sequence[uuid.UUID]) -> list[AnyRow]:
    """Blocked to queued, scheduled, or in the line of a limit, for the first jobs of locked, postponed workflows.

    Returns the columns of DISPATCH for each.
    """
    tx.connection.execute(_LET_IN, {"ids": list(ids)})
    return sorted(tx.connection.execute(_LET_JOBS_GO, {"ids": list(ids)}).all(), key=lambda row: row.id)


def complete_fan_ins(tx: Transaction, ids: Sequence[uuid.UUID]) -> Sequence[AnyRow]:
    """Return the fan-ins with which these workflows begin and that wait for no member; the columns of FAN_IN."""
    return tx.connection.execute(_COMPLETE, {"ids": list(ids)}).all()


def postpone_on(tx: Transaction, workflow_id: uuid.UUID, line: str, max_backlog: int | None) -> None:
    """Move a locked, postponed workflow into the line of another cap; *max_backlog* is that of a step."""
    values = {"of_id": workflow_id, "line": line, "most_waiting": max_backlog}
    tx.connection.execute(_POSTPONE_ON, values)
