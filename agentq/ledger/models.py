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

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from agentq.ledger.db.types import UtcDateTime, Word, is_word_of, now, word_of
from agentq.states import (
    HOLDING,
    JOB_BACKLOG,
    JOB_FINAL,
    WORKFLOW_FINAL,
    AttemptOutcome,
    DeadLetterKind,
    DeadLetterStatus,
    JobKind,
    JobStatus,
    OnFailure,
    WorkflowStatus,
)


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


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    check = CheckConstraint(is_word_of(column, words), name=f"{column}_known")
    return check.ddl_if(dialect="sqlite")  # on PostgreSQL, ``word_of`` does it


def _finished_iff_final(final: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(
        f"(finished_at IS NOT NULL) = ({is_word_of('status', final)})", name="finished_iff_final"
    )


def _partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


class WorkflowRow(Base):
    """One started canvas."""

    __tablename__ = "agentq_workflows"
    __table_args__ = (
        _one_of("status", WorkflowStatus),
        _finished_iff_final(WORKFLOW_FINAL),
        _partial_index("uq_agentq_workflows_key", "tenant", "key", where="key IS NOT NULL", unique=True),
        Index("ix_agentq_workflows_tenant", "tenant", "id"),
        Index("ix_agentq_workflows_status", "status", "id"),
        _partial_index(
            *("ix_agentq_workflows_open", "tenant", "created_at"), where=f"status = '{WorkflowStatus.RUNNING}'"
        ),
        _partial_index(
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
        CheckConstraint(f"(status = '{JobStatus.RUNNING}') <= (worker_id IS NOT NULL)", name="running_has_worker"),
        Index("ix_agentq_jobs_workflow", "workflow_id", "id"),
        _partial_index("ix_agentq_jobs_after", "after_id", where="after_id IS NOT NULL"),
        _partial_index("uq_agentq_jobs_member", "join_id", "position", where="join_id IS NOT NULL", unique=True),
        _partial_index("ix_agentq_jobs_part", "part_id", where="part_id IS NOT NULL"),
        _partial_index("ix_agentq_jobs_due", "due_at", where=f"status = '{JobStatus.SCHEDULED}'"),
        _partial_index("ix_agentq_jobs_queued", "queue", "dispatched_at", where=f"status = '{JobStatus.QUEUED}'"),
        _partial_index("ix_agentq_jobs_running", "worker_id", where=f"status = '{JobStatus.RUNNING}'"),
        _partial_index(
            *("ix_agentq_jobs_blocked", "blocked_on", "tenant", "rank_at", "id"),
            where="status = 'blocked' AND blocked_by = 'limit'",
        ),
        _partial_index(
            *("ix_agentq_jobs_backlog", "step", "created_at"),
            where=f"is_counted AND {is_word_of('status', JOB_BACKLOG)}",
        ),
        _partial_index("ix_agentq_jobs_spent", "id", where=f"held > 0 AND NOT ({is_word_of('status', HOLDING)})"),
        _partial_index(
            "ix_agentq_jobs_expiring", "expires_at", where="expires_at IS NOT NULL AND finished_at IS NULL"
        ),
        _partial_index(
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
    # The names of its limits in their order, and how many of them, from the first, it holds a slot of.
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
    __table_args__ = (_one_of("outcome", AttemptOutcome),)

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


class DeadLetterRow(Base):
    """The record of a job that is exhausted or must not be tried again, or of a message that no worker can take.

    Written in the transaction of the job's final move; the task ``agentq.dead_letter`` then adds the snapshot and
    calls the handlers.
    """

    __tablename__ = "agentq_dead_letters"
    __table_args__ = (
        _one_of("kind", DeadLetterKind),
        _one_of("status", DeadLetterStatus),
        CheckConstraint("(closed_at IS NULL) = (status = 'open')", name="closed_iff_not_open"),
        CheckConstraint("(kind = 'job') = (job_id IS NOT NULL)", name="job_has_id"),
        _partial_index(
            "uq_agentq_dead_letters_open", "job_id", where="status = 'open' AND job_id IS NOT NULL", unique=True
        ),
        _partial_index("uq_agentq_dead_letters_digest", "digest", where="digest IS NOT NULL", unique=True),
        _partial_index("ix_agentq_dead_letters_unhandled", "created_at", where="handled_at IS NULL"),
        Index("ix_agentq_dead_letters_job", "job_id"),
        Index("ix_agentq_dead_letters_workflow", "workflow_id"),
        Index("ix_agentq_dead_letters_status", "status", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(word_of(DeadLetterKind))
    status: Mapped[str] = mapped_column(word_of(DeadLetterStatus))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agentq_jobs.id", ondelete="CASCADE"))
    workflow_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agentq_workflows.id", ondelete="CASCADE"))
    tenant: Mapped[str]
    step: Mapped[str]
    attempts: Mapped[int]
    error_category: Mapped[str | None]
    error_class: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    # Whether the policy asks for a person, rather than for a later replay.
    needs_person: Mapped[bool]
    # The person that took it on, and what they say.
    owner: Mapped[str | None]
    note: Mapped[str | None] = mapped_column(Text)
    # Of messages: the digest that distinguishes them, and how many were alike.
    digest: Mapped[str | None] = mapped_column(String(64))
    messages: Mapped[int] = mapped_column(server_default="1")
    # Step, arguments, tenant, workflow and every attempt, as JSON, from the task that records it.
    snapshot: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())
    dispatched_at: Mapped[datetime | None]
    recorded_at: Mapped[datetime | None]
    handled_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


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
    # What it replaced, as JSON: the arguments before an edit.
    details: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class EventRow(Base):
    """One event that a step reported while it ran: its progress, or an event of its own kind.

    Numbers ascend within a workflow, and a reader of one has seen all before it.
    """

    __tablename__ = "agentq_events"
    __table_args__ = (
        CheckConstraint("number > 0", name="number_positive"),
        Index("ix_agentq_events_job", "job_id"),
    )

    workflow_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("agentq_workflows.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(64))
    # JSON.
    data: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class LimitRow(Base):
    """A limit: how many of the jobs that have it may run at once, and how many hold a slot of it.

    A slot is held by a job, which says so itself: ``used`` is the number of those that do, in every snapshot.
    """

    __tablename__ = "agentq_limits"
    __table_args__ = (
        CheckConstraint("used >= 0", name="used_counted"),
        _partial_index("ix_agentq_limits_awaited", "name", where="is_awaited"),
        {"postgresql_with": {"fillfactor": 50}},  # its rows are written often: room for that in their own page
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    # The slots that code declares, and those that an operator set in their place: until when, who and why.
    declared: Mapped[int]
    override: Mapped[int | None]
    override_until: Mapped[datetime | None]
    actor: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(Text)
    used: Mapped[int] = mapped_column(server_default="0")
    # The job that keeps a slot while it waits for another limit.
    kept_for: Mapped[uuid.UUID | None]
    # Whether jobs stand in its line, and a number that grows with each one that begins to.
    is_awaited: Mapped[bool] = mapped_column(server_default=false())
    awaits: Mapped[int] = mapped_column(BigInteger, server_default="0")


class TurnRow(Base):
    """The turn of a tenant in the line of a limit: the one that was served least comes next."""

    __tablename__ = "agentq_turns"
    __table_args__ = (Index("ix_agentq_turns_served", "name", "is_idle", "served", "tenant"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(primary_key=True)
    served: Mapped[float] = mapped_column(Float, server_default="0")
    # Whether no job of it stands in the line, and a number that grows with each one that begins to.
    is_idle: Mapped[bool] = mapped_column(server_default=false())
    entered: Mapped[int] = mapped_column(BigInteger, server_default="0")


class TenantRow(Base):
    """A tenant for which an operator has set something; most have none."""

    __tablename__ = "agentq_tenants"
    __table_args__ = (CheckConstraint("weight > 0", name="weight_positive"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    weight: Mapped[float] = mapped_column(Float, server_default="1")
    # How many of its workflows may be open; None for as many as code says.
    max_open: Mapped[int | None]


class TenantChangeRow(Base):
    """One change of how many workflows of a tenant may be open: from what to what, by whom, why."""

    __tablename__ = "agentq_tenant_changes"
    __table_args__ = (Index("ix_agentq_tenant_changes_tenant", "tenant", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    before: Mapped[int | None]
    after: Mapped[int | None]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class LimitChangeRow(Base):
    """One change of a limit, by an operator or by other code: from how many slots to how many, who, why."""

    __tablename__ = "agentq_limit_changes"
    __table_args__ = (Index("ix_agentq_limit_changes_name", "name", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    before: Mapped[int]
    after: Mapped[int]
    until: Mapped[datetime | None]
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
    # Its queues, steps and plain tasks, as JSON; None until it reports them.
    knows: Mapped[str | None] = mapped_column(Text)
