"""Rules on postponed workflows: they wait while there is no room for them, and no longer."""

from __future__ import annotations

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import aliased

from agentq.ledger.audit.invariants.common import (
    ASK_WORKERS,
    LONG_AGO,
    START_ANEW,
    Found,
    a_worker_lives,
    invariant,
)
from agentq.ledger.models import JobRow, TenantChangeRow, TenantRow, WorkflowRow
from agentq.ledger.moves.postponed import BLOCKED_BY_BACKLOG, POSTPONED, line_of_tenant
from agentq.states import WorkflowStatus

_other = aliased(WorkflowRow)
_of_tenant = _other.tenant == WorkflowRow.tenant
_open = select(func.count()).where(
    _of_tenant, _other.status == WorkflowStatus.RUNNING, _other.postponed_on.is_(None)
)
_by_operator = select(TenantRow.max_open).where(TenantRow.tenant == WorkflowRow.tenant).scalar_subquery()
_cap = func.coalesce(_by_operator, WorkflowRow.max_open)
_ended = select(_other.id).where(_of_tenant, _other.finished_at > LONG_AGO)
_changed = select(TenantChangeRow.id).where(
    TenantChangeRow.tenant == WorkflowRow.tenant, TenantChangeRow.created_at > LONG_AGO
)


@invariant("job", START_ANEW)
def held_back_by_no_cap() -> Found:
    """a job is held back by a cap, but its workflow is not postponed"""
    return (
        select(JobRow.id, JobRow.step)
        .join(WorkflowRow, WorkflowRow.id == JobRow.workflow_id)
        .where(BLOCKED_BY_BACKLOG, WorkflowRow.postponed_on.is_(None))
    )


@invariant("workflow", ASK_WORKERS)
def never_let_in() -> Found:
    """a workflow is postponed though its tenant has had room for long, and no living worker let it in"""
    has_room = or_(_cap.is_(None), _open.scalar_subquery() < _cap)
    return select(WorkflowRow.id, WorkflowRow.tenant).where(
        POSTPONED,
        WorkflowRow.postponed_on == line_of_tenant(WorkflowRow.tenant),
        and_(WorkflowRow.created_at < LONG_AGO, ~_ended.exists(), ~_changed.exists()),
        has_room,
        a_worker_lives,
    )


INVARIANTS = (held_back_by_no_cap, never_let_in)
