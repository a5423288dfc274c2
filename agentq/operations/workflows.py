"""Workflows: list, get, count, cancel, one or many."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, and_, func, outerjoin, select

from agentq.exceptions import NotFound, StateConflict
from agentq.ledger import cancels as ledger_workflows
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ActionRow, JobRow, WorkflowRow
from agentq.ledger.queries import workflows
from agentq.ledger.transaction import Transaction
from agentq.operations import jobs, many
from agentq.operations.actors import operator_action
from agentq.operations.filters import Query, narrowed
from agentq.operations.identity import parse_id
from agentq.operations.schemas import Action, Decided, WorkflowDetails, WorkflowSummary
from agentq.redaction import masked
from agentq.states import WorkflowStatus

_failed_of = outerjoin(
    WorkflowRow, JobRow, and_(JobRow.id == WorkflowRow.failed_job_id, WorkflowRow.status == WorkflowStatus.FAILED)
)
_SUMMARY = select(
    WorkflowRow.__table__, JobRow.error_category, JobRow.error_class, JobRow.error_message
).select_from(_failed_of)


@dataclass(frozen=True, slots=True)
class WorkflowFilter:
    """A filter on workflows; None means any. ``older_than`` is in seconds since the start."""

    status: WorkflowStatus | None = None
    tenant: str | None = None
    key: str | None = None
    name: str | None = None
    older_than: float | None = None


def list_(
    ledger: Ledger, wanted: WorkflowFilter, *, limit: int = 50, oldest_first: bool = False
) -> list[WorkflowSummary]:
    """Return up to *limit* workflows, newest first or oldest first."""
    order = WorkflowRow.id if oldest_first else WorkflowRow.id.desc()
    query = _filtered(_SUMMARY, wanted).order_by(order).limit(limit)
    return ledger.read(lambda connection: _summaries(connection, query))


def count(ledger: Ledger, wanted: WorkflowFilter) -> int:
    """Return how many workflows there are."""
    query = _filtered(select(func.count()).select_from(WorkflowRow), wanted)
    return ledger.read(lambda connection: connection.scalar(query) or 0)


def get(ledger: Ledger, workflow_id: str) -> WorkflowDetails:
    """Return everything about one workflow; raises NotFound."""
    wanted = parse_id(workflow_id, "workflow")

    def read(connection: Connection) -> WorkflowDetails:
        row = _row(connection, wanted)
        actions = connection.execute(
            select(ActionRow.__table__).where(ActionRow.workflow_id == wanted).order_by(ActionRow.id)
        )
        return WorkflowDetails(
            **WorkflowSummary.model_validate(row).model_dump(),
            jobs=jobs.read_all(connection, wanted),
            actions=[Action.model_validate(action) for action in actions],
        )

    return ledger.read(read)


def summary(ledger: Ledger, workflow_id: str) -> WorkflowSummary:
    """Return one workflow without its jobs, which is cheap however many they are; raises NotFound."""
    wanted = parse_id(workflow_id, "workflow")
    return ledger.read(lambda connection: WorkflowSummary.model_validate(_row(connection, wanted)))


def result(ledger: Ledger, workflow_id: str) -> Any:
    """Return a workflow's result as JSON data, with secrets masked.

    Raises NotFound; StateConflict while it runs; StepFailed or WorkflowCancelled where it ended without one.
    """
    wanted = parse_id(workflow_id, "workflow")

    def read(connection: Connection) -> Any:
        status = workflows.workflow_status(connection, wanted)
        if status.status == WorkflowStatus.RUNNING:
            raise StateConflict(
                f"workflow {wanted}",
                expected=[WorkflowStatus.SUCCEEDED],
                found=status.status,
                next_step="Ask again later.",
            )
        return workflows.workflow_result(connection, status)[1]

    return masked(ledger.read(read))


def cancel(ledger: Ledger, workflow_id: str, *, actor: str = "", reason: str = "") -> bool:
    """Cancel a workflow and its jobs that are not done; False where it had ended before.

    Raises NotFound where there is no such workflow.
    """
    wanted = parse_id(workflow_id, "workflow")
    action = operator_action(actor, reason)

    def write(tx: Transaction) -> bool:
        workflows.workflow_status(tx.connection, wanted)
        return ledger_workflows.cancel(tx, wanted, **action)

    return ledger.write(write)


def cancel_all(
    ledger: Ledger,
    wanted: WorkflowFilter,
    *,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[WorkflowSummary]:
    """Cancel workflows that run, and their jobs that are not done, oldest first.

    Args:
        ledger: where.
        wanted: which; its status is taken to be running.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were cancelled, or would be, and those that were refused: they had ended before. Each is
    a transaction of its own. Raises InvalidArguments.
    """
    running = replace(wanted, status=WorkflowStatus.RUNNING)
    query = _filtered(_SUMMARY, running)
    plan = Decided[WorkflowSummary](**many.find(ledger, query, WorkflowRow.id, _summaries, most))

    def stop(workflow: WorkflowSummary, _: int) -> WorkflowSummary:
        was_running = cancel(ledger, str(workflow.id), actor=actor, reason=reason)
        now = summary(ledger, str(workflow.id))
        if not was_running:
            raise StateConflict(f"workflow {now.id}", expected=[WorkflowStatus.RUNNING], found=now.status)
        return now

    return plan if dry_run else many.carry_out(plan, stop)


def _summaries(connection: Connection, query: Select[Any]) -> list[WorkflowSummary]:
    return [WorkflowSummary.model_validate(row) for row in connection.execute(query)]


def _row(connection: Connection, workflow_id: uuid.UUID) -> AnyRow:
    row = connection.execute(_SUMMARY.where(WorkflowRow.id == workflow_id)).one_or_none()
    if row is None:
        raise NotFound(f"no workflow has the id {workflow_id}; list them with: agentq workflows list")
    return row


def _filtered(query: Query, wanted: WorkflowFilter) -> Query:
    pairs = (
        (WorkflowRow.status, wanted.status),
        (WorkflowRow.tenant, wanted.tenant),
        (WorkflowRow.key, wanted.key),
        (WorkflowRow.name, wanted.name),
    )
    return narrowed(query, pairs, WorkflowRow.created_at, wanted.older_than)
