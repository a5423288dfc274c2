"""All that a ledger holds at one time, and the promises between two times."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import AttemptRow, Base, JobRow, WorkerRow, WorkflowRow
from agentq.states import JOB_FINAL, JOB_MOVES, JobStatus, WorkflowStatus

_NAMED = (WorkflowRow.__table__, JobRow.__table__, AttemptRow.__table__)
_OTHERS = [t for t in Base.metadata.sorted_tables if t not in (*_NAMED, WorkerRow.__table__)]
_FIXED = ("workflow_id", "tenant", "kind", "step", "arguments", "after_id", "join_id", "position", "is_last")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows of every table but the workers'."""

    workflows: dict[uuid.UUID, AnyRow]
    jobs: dict[uuid.UUID, AnyRow]
    attempts: dict[tuple[uuid.UUID, int], AnyRow]
    others: dict[str, list[AnyRow]]

    def of(self, workflow_id: uuid.UUID) -> list[AnyRow]:
        """Return the jobs of one workflow."""
        return [job for job in self.jobs.values() if job.workflow_id == workflow_id]

    def having(self, *statuses: JobStatus) -> list[AnyRow]:
        """Return the jobs that stand so."""
        return [job for job in self.jobs.values() if job.status in statuses]


def take_snapshot(connection: Connection) -> Snapshot:
    """Read the whole ledger."""
    workflows, jobs, attempts = (connection.execute(select(table)).all() for table in _NAMED)
    return Snapshot(
        {row.id: row for row in sorted(workflows, key=lambda row: row.id)},
        {row.id: row for row in sorted(jobs, key=lambda row: row.id)},
        {(row.job_id, row.number): row for row in attempts},
        {t.name: sorted(connection.execute(select(t)), key=_place) for t in _OTHERS},
    )


def _place(row: AnyRow) -> tuple[str, ...]:
    """Return what sorts the rows of a table: by their job, where they have one, and then by their id or name."""
    named = row._mapping
    return str(named.get("job_id") or ""), str(named.get("id", row[0]))


def is_past(time: datetime | None) -> bool:
    """Say whether there is such a time and it has come."""
    return time is not None and time <= datetime.now(UTC)


def can_be_claimed(job: AnyRow) -> bool:
    """Say whether the ledger should give this job to a worker that asks for it."""
    return job.status == JobStatus.QUEUED and job.attempt < job.max_attempts and not is_past(job.expires_at)


def line_of(tenant: str) -> str:
    """Return the line of a tenant's cap."""
    return f"max_open:{tenant}"


def open_of(found: Snapshot, tenant: str) -> int:
    """Count the open workflows of a tenant."""
    its = [one for one in found.workflows.values() if one.tenant == tenant and one.postponed_on is None]
    return sum(one.status == WorkflowStatus.RUNNING for one in its)


def waiting_of(found: Snapshot, tenant: str) -> list[AnyRow]:
    """Return the workflows that stand in the line of a tenant's cap, the oldest first."""
    its = [one for one in found.workflows.values() if one.postponed_on == line_of(tenant)]
    running = [one for one in its if one.status == WorkflowStatus.RUNNING]
    return sorted(running, key=lambda one: (one.created_at, one.id))


def became_queued(before: Snapshot, after: Snapshot) -> set[uuid.UUID]:
    """Return the jobs that must be dispatched: they are queued and were not, or are to be redispatched."""
    return {
        job.id
        for job in after.having(JobStatus.QUEUED)
        if (was := before.jobs.get(job.id)) is None
        or was.status != JobStatus.QUEUED
        or was.dispatches != job.dispatches
    }


def touched(before: Snapshot, after: Snapshot) -> set[uuid.UUID]:
    """Return the workflows in which anything changed."""
    found = {row.id for row in after.workflows.values() if before.workflows.get(row.id) != row}
    found |= {row.workflow_id for row in after.jobs.values() if before.jobs.get(row.id) != row}
    news = [key for key, row in after.attempts.items() if before.attempts.get(key) != row]
    return found | {after.jobs[job_id].workflow_id for job_id, _ in news}


def check_kept(before: Snapshot, after: Snapshot, reopened: Collection[uuid.UUID] = ()) -> None:
    """Rows never vanish, never change their owner, and final states stay.

    *reopened* are the workflows and jobs that a person replayed.
    """
    for workflow_id, was in before.workflows.items():
        workflow = after.workflows[workflow_id]
        assert (workflow.tenant, workflow.key, workflow.name) == (was.tenant, was.key, was.name)
        if was.status != WorkflowStatus.RUNNING and workflow_id not in reopened:
            assert workflow == was, "a workflow that had ended was changed"
    for job_id, was in before.jobs.items():
        job = after.jobs[job_id]
        for name in _FIXED:
            assert getattr(job, name) == getattr(was, name), f"{name} of a job was changed"
        assert job.attempt >= was.attempt, "an attempt was uncounted: its number is the fencing token"
        if was.status in JOB_FINAL and job_id not in reopened:
            assert (job.status, job.result, job.finished_at) == (was.status, was.result, was.finished_at)
    for key, past in before.attempts.items():
        assert after.attempts[key] == past, "the history was rewritten"


def check_moves(before: Snapshot, after: Snapshot) -> None:
    """In one transaction each job makes one of the allowed moves, or none."""
    for job_id, was in before.jobs.items():
        status = after.jobs[job_id].status
        assert status == was.status or status in JOB_MOVES[JobStatus(was.status)], f"{was.status} to {status}"
