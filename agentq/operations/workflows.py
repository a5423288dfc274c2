"""Workflows: list, get, count, cancel, one or many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agentq.exceptions import StateConflict
from agentq.ledger import cancels as ledger_workflows
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import jobs, workflows
from agentq.ledger.transaction import Transaction
from agentq.operations import many
from agentq.operations.actors import operator_action
from agentq.operations.filters import checked
from agentq.operations.identity import parse_id
from agentq.operations.jobs import records
from agentq.operations.schemas import Action, Decided, WorkflowDetails, WorkflowSummary
from agentq.redaction import masked
from agentq.states import WorkflowStatus


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
    rows = partial(workflows.matching(checked(wanted)).rows, limit=limit, oldest_first=oldest_first)
    return [WorkflowSummary.model_validate(row) for row in ledger.read(rows)]


def count(ledger: Ledger, wanted: WorkflowFilter) -> int:
    """Return how many workflows there are."""
    return ledger.read(workflows.matching(checked(wanted)).count)


def get(ledger: Ledger, workflow_id: str) -> WorkflowDetails:
    """Return everything about one workflow; raises NotFound."""
    wanted = parse_id(workflow_id, "workflow")
    row, actions, found = ledger.read(
        lambda connection: (
            workflows.summary(connection, wanted),
            workflows.actions(connection, wanted),
            jobs.of_workflow(connection, wanted),
        )
    )
    return WorkflowDetails(
        **WorkflowSummary.model_validate(row).model_dump(),
        jobs=records(found),
        actions=[Action.model_validate(action) for action in actions],
    )


def summary(ledger: Ledger, workflow_id: str) -> WorkflowSummary:
    """Return one workflow without its jobs, which is cheap however many they are; raises NotFound."""
    wanted = parse_id(workflow_id, "workflow")
    return WorkflowSummary.model_validate(ledger.read(partial(workflows.summary, workflow_id=wanted)))


def result(ledger: Ledger, workflow_id: str) -> Any:
    """Return a workflow's result as JSON data, with secrets masked.

    Raises NotFound; StateConflict while it runs; StepFailed or WorkflowCancelled where it ended without one.
    """
    wanted = parse_id(workflow_id, "workflow")
    return masked(ledger.read(partial(workflows.result_of_ended, workflow_id=wanted)))


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
    rows, fit = ledger.read(partial(workflows.matching(checked(running)).first, most=many.bounded(most)))
    plan = Decided[WorkflowSummary](done=[WorkflowSummary.model_validate(row) for row in rows], fit=fit)

    def stop(workflow: WorkflowSummary, _: int) -> WorkflowSummary:
        was_running = cancel(ledger, str(workflow.id), actor=actor, reason=reason)
        now = summary(ledger, str(workflow.id))
        if not was_running:
            raise StateConflict(f"workflow {now.id}", expected=[WorkflowStatus.RUNNING], found=now.status)
        return now

    return plan if dry_run else many.carry_out(plan, stop)
