"""Every table, constraint and index of the ledger: one page of truth.

A workflow is a graph of jobs. A job waits for at most one job before it (``after_id``) or, when it is a
join or an ``each``, for its members: the jobs whose ``join_id`` names it, in the order of ``position``.
``remaining`` counts what it still waits for.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, MetaData, String, Text, Uuid, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from agentq.ledger.types import UtcDateTime, now
from agentq.states import JOB_FINAL, WORKFLOW_FINAL, AttemptOutcome, JobKind, JobStatus, WorkflowStatus


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), uuid.UUID: Uuid(), str: String(255)}


def _quoted(values: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{value}'" for value in sorted(values))


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({_quoted(values)})", name=f"{column}_known")


def _finished_iff_final(final: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(
        f"(finished_at IS NOT NULL) = (status IN ({_quoted(final)}))", name="finished_iff_final"
    )


class WorkflowRow(Base):
    """One started canvas."""

    __tablename__ = "agentq_workflows"
    __table_args__ = (
        _one_of("status", WorkflowStatus),
        _finished_iff_final(WORKFLOW_FINAL),
        Index(
            "uq_agentq_workflows_key",
            "tenant",
            "key",
            unique=True,
            postgresql_where=text("key IS NOT NULL"),
            sqlite_where=text("key IS NOT NULL"),
        ),
        Index("ix_agentq_workflows_tenant", "tenant", "id"),
        Index("ix_agentq_workflows_status", "status", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    key: Mapped[str | None]
    fingerprint: Mapped[str] = mapped_column(String(64))
    result_job_id: Mapped[uuid.UUID]
    failed_job_id: Mapped[uuid.UUID | None]
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())
    finished_at: Mapped[datetime | None]


class JobRow(Base):
    """One step to be done in one workflow; or a join or an ``each``, which no worker runs."""

    __tablename__ = "agentq_jobs"
    __table_args__ = (
        _one_of("status", JobStatus),
        _one_of("kind", JobKind),
        _finished_iff_final(JOB_FINAL),
        CheckConstraint("attempt >= 0 AND attempt <= max_attempts", name="attempts_bounded"),
        CheckConstraint("remaining >= 0", name="remaining_counted"),
        CheckConstraint("(status = 'running') <= (worker_id IS NOT NULL)", name="running_has_worker"),
        Index("ix_agentq_jobs_workflow", "workflow_id", "id"),
        Index(
            "ix_agentq_jobs_after",
            "after_id",
            postgresql_where=text("after_id IS NOT NULL"),
            sqlite_where=text("after_id IS NOT NULL"),
        ),
        Index(
            "uq_agentq_jobs_member",
            "join_id",
            "position",
            unique=True,
            postgresql_where=text("join_id IS NOT NULL"),
            sqlite_where=text("join_id IS NOT NULL"),
        ),
        Index(
            "ix_agentq_jobs_due",
            "due_at",
            postgresql_where=text("status = 'scheduled'"),
            sqlite_where=text("status = 'scheduled'"),
        ),
        Index(
            "ix_agentq_jobs_queued",
            "queue",
            "dispatched_at",
            postgresql_where=text("status = 'queued'"),
            sqlite_where=text("status = 'queued'"),
        ),
        Index(
            "ix_agentq_jobs_running",
            "worker_id",
            postgresql_where=text("status = 'running'"),
            sqlite_where=text("status = 'running'"),
        ),
        Index(
            "ix_agentq_jobs_expiring",
            "expires_at",
            postgresql_where=text("expires_at IS NOT NULL AND finished_at IS NULL"),
            sqlite_where=text("expires_at IS NOT NULL AND finished_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_workflows.id", ondelete="CASCADE"))
    tenant: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    step: Mapped[str]
    status: Mapped[str] = mapped_column(String(16))
    # The graph.
    after_id: Mapped[uuid.UUID | None]
    join_id: Mapped[uuid.UUID | None]
    position: Mapped[int | None]
    remaining: Mapped[int]
    is_last: Mapped[bool]
    # Whether its hand-over reaches only steps, and at most one join: then one statement does it all.
    is_plain: Mapped[bool]
    # What to run.
    arguments: Mapped[str | None] = mapped_column(Text)
    immutable: Mapped[bool]
    queue: Mapped[str]
    priority: Mapped[int | None]
    timeout: Mapped[float | None]
    max_attempts: Mapped[int]
    # When to run.
    delay: Mapped[float | None]
    due_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(server_default="0")
    # The current attempt; its number is the fencing token.
    attempt: Mapped[int] = mapped_column(server_default="0")
    claim_token: Mapped[int | None] = mapped_column(BigInteger)
    worker_id: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime | None]
    # What came of it.
    result: Mapped[str | None] = mapped_column(Text)
    error_category: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())
    finished_at: Mapped[datetime | None]


class AttemptRow(Base):
    """One finished attempt at a job: the history."""

    __tablename__ = "agentq_attempts"
    __table_args__ = (_one_of("outcome", AttemptOutcome),)

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    outcome: Mapped[str] = mapped_column(String(16))
    worker_id: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime] = mapped_column(default=now())
    error_category: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    error_traceback: Mapped[str | None] = mapped_column(Text)


class ActionRow(Base):
    """One thing that an operator did: who, what, why."""

    __tablename__ = "agentq_actions"
    __table_args__ = (Index("ix_agentq_actions_workflow", "workflow_id", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_workflows.id", ondelete="CASCADE"))
    job_id: Mapped[uuid.UUID | None]
    action: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class WorkerRow(Base):
    """One worker process, from its start to its end; it holds the lease for all that its pool runs."""

    __tablename__ = "agentq_workers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(default=now())
    seen_at: Mapped[datetime] = mapped_column(default=now())
    lease_until: Mapped[datetime]
    stopped_at: Mapped[datetime | None]
    refused_messages: Mapped[int] = mapped_column(server_default="0")
