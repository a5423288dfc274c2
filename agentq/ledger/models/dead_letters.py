"""The tables of what happens to jobs: dead letters, actions of operators, events of steps."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentq.ledger.db.types import now, word_of
from agentq.ledger.models.base import Base, one_of, partial_index
from agentq.states import (
    DeadLetterKind,
    DeadLetterStatus,
)


class DeadLetterRow(Base):
    """The record of a job that is exhausted or must not be tried again, or of a message that no worker can take.

    Written in the transaction of the job's final move; the task ``agentq.dead_letter`` then adds the snapshot and
    calls the handlers.
    """

    __tablename__ = "agentq_dead_letters"
    __table_args__ = (
        one_of("kind", DeadLetterKind),
        one_of("status", DeadLetterStatus),
        CheckConstraint("(closed_at IS NULL) = (status = 'open')", name="closed_iff_not_open"),
        CheckConstraint("(kind = 'job') = (job_id IS NOT NULL)", name="job_has_id"),
        partial_index(
            "uq_agentq_dead_letters_open", "job_id", where="status = 'open' AND job_id IS NOT NULL", unique=True
        ),
        partial_index("uq_agentq_dead_letters_digest", "digest", where="digest IS NOT NULL", unique=True),
        partial_index("ix_agentq_dead_letters_unhandled", "created_at", where="handled_at IS NULL"),
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
