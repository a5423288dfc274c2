"""The reasons why a workflow or a job is not done, one for each job, and the events that end them."""

from __future__ import annotations

from functools import partial

from agentq.exceptions import NotFound
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import jobs as queries
from agentq.ledger.queries.jobs import FoundJobs
from agentq.operations import jobs, workflow_waits, workflows
from agentq.operations.identity import find_id
from agentq.operations.job_waits import Waits
from agentq.operations.schemas import Reason, Why
from agentq.operations.slot_waits import reason_of
from agentq.states import FAN_INS, BlockedBy, JobStatus, WaitReason

_NAMES = {
    JobStatus.RUNNING: WaitReason.ATTEMPT,
    JobStatus.QUEUED: WaitReason.WORKER,
    JobStatus.BLOCKED: WaitReason.SLOT,
    JobStatus.SCHEDULED: WaitReason.TIME,
    JobStatus.FAILED: WaitReason.DECISION,
    JobStatus.WAITING: WaitReason.JOBS,
}

_WAITING_FOR = {
    WaitReason.ATTEMPT: "the end of attempt {attempt}, which runs",
    WaitReason.DECISION: "a decision about its dead letter",
}
"""The condition of a job that runs or has failed, which waits for no other one."""
_ENDS = {
    WaitReason.ATTEMPT: "the step returns or fails, or its time ends; look with: agentq jobs show {job}",
    WaitReason.WORKER: "a worker takes it; look with: agentq workers list --status alive",
    WaitReason.SLOT: "a slot comes free, and its turn has come; look with: agentq limits show {limit}",
    WaitReason.PAUSED: "the pause ends, or: agentq limits resume {limit}",
    WaitReason.COOLDOWN: "the cooldown ends, and its turn has come; look with: agentq limits show {limit}",
    WaitReason.RATE: "its start is due, and its turn has come; look with: agentq limits show {limit}",
    WaitReason.TOKENS: "its tokens are there, and its turn has come; look with: agentq limits show {limit}",
    WaitReason.TIME: "a caretaker queues it then",
    WaitReason.BACKLOG: "there is room and its turn has come; look with: agentq tenants show {tenant}",
    WaitReason.DECISION: "a person decides; look with: agentq dead-letters show {job}",
    WaitReason.JOBS: "these have succeeded; look with: agentq why {workflow}",
    WaitReason.MEMBERS: "enough of them have ended; look with: agentq why {workflow}",
}


def find(ledger: Ledger, text: str, *, limit: int = 50) -> Why:
    """Return why a workflow, or a job, is not done.

    Args:
        ledger: where.
        text: the id of a workflow or of a job, the first 4 characters or more of it, or ``key:`` and a workflow's
            key. Characters with which one workflow begins mean that, and no job.
        limit: of how many jobs of a workflow at most, those first that all others wait for.

    Raises NotFound where nothing fits, or several do.
    """
    try:
        return of_workflow(ledger, find_id(ledger, text, "workflow"), limit=limit)
    except NotFound as no_workflow:
        try:
            return of_job(ledger, find_id(ledger, text, "job"))
        except NotFound as no_job:
            raise NotFound(f"{no_workflow}. As a job: {no_job}") from None


def of_workflow(ledger: Ledger, workflow_id: str, *, limit: int = 50) -> Why:
    """Return why a workflow is not done, of up to *limit* of its jobs; raises NotFound."""
    workflow = workflows.summary(ledger, workflow_id)
    most = limit + 1
    found = _reasons(ledger.read(partial(queries.unfinished, workflow_id=workflow.id, limit=most)))
    return Why(
        workflow_id=workflow.id,
        job_id=None,
        status=workflow.status,
        reasons=found[:limit],
        is_complete=len(found) <= limit,
        workers=workflow_waits.without_worker(ledger) if found else "",
    )


def of_job(ledger: Ledger, job_id: str) -> Why:
    """Return why a job is not done; raises NotFound."""
    job = jobs.summary(ledger, job_id)
    found = _reasons(ledger.read(partial(queries.unfinished_job, job_id=job.id)))
    return Why(
        workflow_id=job.workflow_id,
        job_id=job.id,
        status=job.status,
        reasons=found,
        is_complete=True,
        workers=workflow_waits.without_worker(ledger) if found else "",
    )


def _reasons(found: FoundJobs) -> list[Reason]:
    waits = jobs.waits_of(found)
    return [_reason(row, waits, found.members.get(row.id, 0)) for row in found.rows]


def _reason(row: AnyRow, waits: Waits, members: int) -> Reason:
    name = _NAMES[JobStatus(row.status)]
    if row.id in waits.caps or (name is WaitReason.SLOT and row.blocked_by == BlockedBy.BACKLOG):
        name = WaitReason.BACKLOG
    elif name is WaitReason.JOBS and row.kind in FAN_INS:
        name = WaitReason.MEMBERS
    elif name is WaitReason.SLOT:
        name = reason_of(waits.lines, row)
    return Reason(
        job_id=row.id,
        step=row.step,
        status=row.status,
        name=name,
        waiting_for=waits.of(row, members) or _WAITING_FOR[name].format(attempt=row.attempt),
        ends=_ENDS[name].format(job=row.id, workflow=row.workflow_id, limit=row.blocked_on, tenant=row.tenant),
    )
