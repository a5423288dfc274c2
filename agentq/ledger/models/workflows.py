"""The tables of workflows, their jobs and the attempts at these.

A workflow is a graph of jobs. A job waits for at most one job before it (``after_id``) or, when it is a
join or an ``each``, for its members: the jobs whose ``join_id`` names it, in the order of ``position``.
``remaining`` counts what it still waits for.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentq.ledger.db.types import Word, is_word_of, now, word_of
from agentq.ledger.models.base import Base, finished_iff_final, one_of, partial_index
from agentq.states import (
    HOLDING,
    JOB_BACKLOG,
    JOB_FINAL,
    WORKFLOW_FINAL,
    AttemptOutcome,
    BlockedBy,
    JobKind,
    JobStatus,
    OnFailure,
    WorkflowStatus,
)


class WorkflowRow(Base):
    """One started canvas."""

    __tablename__ = "agentq_workflows"
    __table_args__ = (
        one_of("status", WorkflowStatus),
        finished_iff_final(WORKFLOW_FINAL),
        partial_index("uq_agentq_workflows_key", "tenant", "key", where="key IS NOT NULL", unique=True),
        Index("ix_agentq_workflows_tenant", "tenant", "id"),
        Index("ix_agentq_workflows_status", "status", "id"),
        partial_index(
            *("ix_agentq_workflows_open", "tenant", "created_at"),
            where=f"status = '{WorkflowStatus.RUNNING}' AND postponed_on IS NULL",
        ),
        partial_index(
            *("ix_agentq_workflows_postponed", "postponed_on", "created_at", "id"),
            where=f"postponed_on IS NOT NULL AND status = '{WorkflowStatus.RUNNING}'",
        ),
        partial_index(
            "ix_agentq_workflows_deadline", "deadline_at", where="deadline_at IS NOT NULL AND finished_at IS NULL"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    status: Mapped[str] = mapped_column(word_of(WorkflowStatus))
    key: Mapped[str | None]
    fingerprint: Mapped[str] = mapped_column(String(64))
    result_job_id: Mapped[uuid.UUID]
    failed_job_id: Mapped[uuid.UUID | None]
    reason: Mapped[str | None] = mapped_column(Text)
    # A retry policy for all its jobs, as JSON; None for each step's own.
    policy: Mapped[str | None] = mapped_column(Text)
    # What the start knew of each step, as JSON: its retry policy for losses, and a digest of its parameters.
    terms: Mapped[str | None] = mapped_column(Text)
    deadline_at: Mapped[datetime | None]
    # The caps of its steps when it was started, as JSON.
    caps: Mapped[str | None] = mapped_column(Text)
    # Of a postponed workflow: the cap in whose line it stands, and the numbers that code gave when it was started,
    # of its tenant, and of the step where it stands in the line of one.
    postponed_on: Mapped[str | None] = mapped_column(Text)
    max_open: Mapped[int | None]
    max_backlog: Mapped[int | None]
    # The tick of a schedule that started it.
    scheduled_for: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now())
    finished_at: Mapped[datetime | None]


class JobRow(Base):
    """One step to be done in one workflow; or a join or an ``each``, which no worker runs."""

    __tablename__ = "agentq_jobs"
    __table_args__ = (
        one_of("status", JobStatus),
        one_of("kind", JobKind),
        finished_iff_final(JOB_FINAL),
        CheckConstraint("attempt >= 0 AND attempt <= max_attempts", name="attempts_bounded"),
        CheckConstraint("remaining >= 0", name="remaining_counted"),
        CheckConstraint(f"(status = '{JobStatus.RUNNING}') <= (worker_id IS NOT NULL)", name="running_has_worker"),
        Index("ix_agentq_jobs_workflow", "workflow_id", "id"),
        partial_index("ix_agentq_jobs_after", "after_id", where="after_id IS NOT NULL"),
        partial_index("uq_agentq_jobs_member", "join_id", "position", where="join_id IS NOT NULL", unique=True),
        partial_index("ix_agentq_jobs_part", "part_id", where="part_id IS NOT NULL"),
        partial_index("ix_agentq_jobs_due", "due_at", where=f"status = '{JobStatus.SCHEDULED}'"),
        partial_index("ix_agentq_jobs_queued", "queue", "dispatched_at", where=f"status = '{JobStatus.QUEUED}'"),
        partial_index("ix_agentq_jobs_running", "worker_id", where=f"status = '{JobStatus.RUNNING}'"),
        partial_index(
            *("ix_agentq_jobs_blocked", "blocked_on", "tenant", "rank_at", "workflow_id", "id"),
            where="status = 'blocked' AND blocked_by = 'limit'",
        ),
        partial_index(
            *("ix_agentq_jobs_backlog", "step", "created_at"),
            where=f"is_counted AND {is_word_of('status', JOB_BACKLOG)} "
            f"AND (blocked_by IS NULL OR blocked_by <> '{BlockedBy.BACKLOG}')",
        ),
        partial_index("ix_agentq_jobs_spent", "id", where=f"held > 0 AND NOT ({is_word_of('status', HOLDING)})"),
        partial_index(
            "ix_agentq_jobs_expiring", "expires_at", where="expires_at IS NOT NULL AND finished_at IS NULL"
        ),
        partial_index(
            "ix_agentq_jobs_deadline", "deadline_at", where="deadline_at IS NOT NULL AND finished_at IS NULL"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    workflow_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_workflows.id", ondelete="CASCADE"))
    tenant: Mapped[str]
    kind: Mapped[str] = mapped_column(word_of(JobKind))
    step: Mapped[str]
    status: Mapped[str] = mapped_column(word_of(JobStatus))
    # The graph.
    after_id: Mapped[uuid.UUID | None]
    join_id: Mapped[uuid.UUID | None]
    position: Mapped[int | None]
    remaining: Mapped[int]
    # Of a fan-in: how many of its members are missing, and how many it needs.
    missing: Mapped[int] = mapped_column(server_default="0")
    needs: Mapped[str | None] = mapped_column(String(16))
    # The member that will be missing if this job fails, and whether this job is itself a member that is missing.
    part_id: Mapped[uuid.UUID | None]
    is_missing: Mapped[bool] = mapped_column(server_default=false())
    on_failure: Mapped[str] = mapped_column(String(16), server_default=OnFailure.STOP)
    is_last: Mapped[bool]
    # Whether its hand-over reaches only steps, and at most one join: then one statement does it all.
    is_plain: Mapped[bool]
    # What to run.
    arguments: Mapped[str | None] = mapped_column(Text)
    immutable: Mapped[bool]
    queue: Mapped[str]
    priority: Mapped[int | None]
    timeout: Mapped[float | None]
    hard_timeout: Mapped[float | None]
    # The number of the last attempt that it may have, and how many a replay gives it anew.
    max_attempts: Mapped[int]
    allowance: Mapped[int] = mapped_column(server_default="1")
    # When it is due, and the reason of that time; after its end, the reason why it is not tried again.
    delay: Mapped[float | None]
    due_at: Mapped[datetime | None]
    due_reason: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    # Seconds from its first claim to its end, over all attempts, and the time that they end; of a fan-in, from
    # the end of its first member.
    deadline: Mapped[float | None]
    deadline_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    dispatches: Mapped[int] = mapped_column(server_default="0")
    # The names of its limits in their order, and how many of them, from the first, it holds a slot of. An empty
    # list says that they need the result of the job before, and get their names when that is known.
    # Of a blocked job: by what, such as a limit.
    blocked_by: Mapped[str | None] = mapped_column(Word(16))
    limits: Mapped[list[str] | None] = mapped_column(
        ARRAY(String(255)).with_variant(JSON(none_as_null=True), "sqlite")
    )
    held: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    # The limit in whose line it stands, its place there, and how often a later limit has refused it.
    # Text, of which PostgreSQL expects short values: with the width of one VARCHAR(255) more, it would plan the
    # claims of an empty table by another index than the key.
    blocked_on: Mapped[str | None] = mapped_column(Text)
    rank_at: Mapped[datetime | None]
    refused: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    # Whether each start has to be paid for, as one of its limits has a rate, tokens or a cooldown; the tokens of
    # each limit that an attempt is expected to use; and whether it is admitted and its start is not paid yet.
    pays: Mapped[bool] = mapped_column(server_default=false())
    tokens: Mapped[list[int] | None] = mapped_column(
        ARRAY(Integer).with_variant(JSON(none_as_null=True), "sqlite")
    )
    is_outstanding: Mapped[bool] = mapped_column(server_default=false())
    # Whether its step has a cap of jobs that wait, so that they are counted.
    is_counted: Mapped[bool] = mapped_column(server_default=false())
    # The current attempt; its number is the fencing token.
    attempt: Mapped[int] = mapped_column(server_default="0")
    claim_token: Mapped[int | None] = mapped_column(BigInteger)
    worker_id: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime | None]
    # The counters that its policy reads: the attempts before the last replay, which do not count any more; those
    # since then that do not count, as deferrals and attempts that a stopped worker gave back; and seconds of both
    # kinds of pause. The columns of deferrals have an older word: no column is renamed beside workers.
    attempts_before: Mapped[int] = mapped_column(server_default="0")
    uncounted: Mapped[int] = mapped_column(server_default="0")
    deferrals: Mapped[int] = mapped_column("waits", server_default="0")
    paused: Mapped[float] = mapped_column(server_default="0")
    deferred: Mapped[float] = mapped_column("waited", server_default="0")
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
    __table_args__ = (one_of("outcome", AttemptOutcome),)

    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    outcome: Mapped[str] = mapped_column(word_of(AttemptOutcome))
    worker_id: Mapped[uuid.UUID | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime] = mapped_column(default=now())
    error_category: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    error_traceback: Mapped[str | None] = mapped_column(Text)
    # What the provider said, where a provider failed.
    error_provider: Mapped[str | None]
    error_status: Mapped[int | None]
    error_code: Mapped[str | None]
    error_request_id: Mapped[str | None]
