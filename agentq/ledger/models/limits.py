"""The tables of limits, their lines and the tenants that take turns in them."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Text,
    false,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentq.ledger.db.types import Epoch, now
from agentq.ledger.models.base import Base, partial_index


class LimitRow(Base):
    """A limit: how many of the jobs that have it may run at once, or start in a time, and how many hold it.

    A job that holds it says so itself, and an attempt has a ``HoldRow``: ``used`` is the number of those that do,
    in every snapshot.
    """

    __tablename__ = "agentq_limits"
    __table_args__ = (
        CheckConstraint("used >= 0", name="used_counted"),
        partial_index("ix_agentq_limits_awaited", "name", where="is_awaited"),
        {"postgresql_with": {"fillfactor": 50}},  # its rows are written often: room for that in their own page
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    # The slots that code declares, None for any number; and those that an operator set in their place: until when,
    # who and why.
    declared: Mapped[int | None]
    override: Mapped[int | None]
    override_until: Mapped[datetime | None]
    actor: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(Text)
    # The starts in a period of so many seconds that code declares, and how many of them at once; those of the
    # operator's override; and when the next start is due, by the database's clock in seconds since 1970.
    rate: Mapped[int | None]
    rate_per: Mapped[float | None] = mapped_column(Float)
    rate_burst: Mapped[int | None]
    override_rate: Mapped[int | None]
    override_rate_per: Mapped[float | None] = mapped_column(Float)
    rate_due: Mapped[float] = mapped_column(Epoch(), server_default="0")
    # The same for tokens.
    tokens: Mapped[int | None]
    tokens_per: Mapped[float | None] = mapped_column(Float)
    tokens_burst: Mapped[int | None]
    override_tokens: Mapped[int | None]
    override_tokens_per: Mapped[float | None] = mapped_column(Float)
    tokens_due: Mapped[float] = mapped_column(Epoch(), server_default="0")
    # Until when no job of it is admitted, and why; how many such cooldowns came one after the other; and how many
    # jobs may run at once after one, beside the carried ones. None for as many as there are slots.
    cooldown_until: Mapped[datetime | None]
    cooldown_reason: Mapped[str | None] = mapped_column(Text)
    strikes: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    ramp: Mapped[int | None]
    # Of those that hold it, the ones that did when it began to cool.
    carried: Mapped[int] = mapped_column(server_default="0")
    # The jobs that hold it; of these, the ones whose start is not paid yet, and their tokens.
    used: Mapped[int] = mapped_column(server_default="0")
    outstanding: Mapped[int] = mapped_column(server_default="0")
    outstanding_tokens: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # The caretaker that admits its jobs when their time comes, and until when no other does.
    paced_by: Mapped[uuid.UUID | None]
    paced_until: Mapped[datetime | None]
    # The job that keeps a slot while it waits for another limit.
    kept_for: Mapped[uuid.UUID | None]
    # Whether jobs stand in its line, and a number that grows with each one that begins to.
    is_awaited: Mapped[bool] = mapped_column(server_default=false())
    awaits: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # Whether an attempt that was lost keeps its slot until its code cannot run any more.
    is_strict: Mapped[bool] = mapped_column(server_default=false())
    # The declared meters whose numbers are those of the limits file: "rate slots"; None for none.
    from_file: Mapped[str | None] = mapped_column(String(64))


class HoldRow(Base):
    """A slot that an attempt holds beside those of its job: it took it inside its step, or was lost with it.

    It is free when the attempt is over, and ``until`` has come where that is given.
    """

    __tablename__ = "agentq_holds"
    __table_args__ = (
        Index("ix_agentq_holds_name", "name", "id"),
        Index("ix_agentq_holds_job", "job_id", "attempt"),
        Index("ix_agentq_holds_until", "until"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agentq_jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    # When no code of the attempt can run any more, for a strict limit.
    until: Mapped[datetime | None]
    # Since when; of a lost attempt, since its start.
    created_at: Mapped[datetime] = mapped_column(default=now())


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
    """One change of a tenant's weight, or of its cap of open workflows: from what to what, who, why."""

    __tablename__ = "agentq_tenant_changes"
    __table_args__ = (Index("ix_agentq_tenant_changes_tenant", "tenant", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    # How many workflows may be open, None for as many as code says; of a change of the weight, the weights.
    before: Mapped[int | None]
    after: Mapped[int | None]
    weight_before: Mapped[float | None] = mapped_column(Float)
    weight_after: Mapped[float | None] = mapped_column(Float)
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class LimitChangeRow(Base):
    """One change of a limit, by an operator or by other code: from what to what, who, why."""

    __tablename__ = "agentq_limit_changes"
    __table_args__ = (Index("ix_agentq_limit_changes_name", "name", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    # Slots; of starts and of tokens the number and its period, such as 500/60. None where it has no such meter.
    before: Mapped[int | None]
    after: Mapped[int | None]
    rate_before: Mapped[str | None] = mapped_column(String(64))
    rate_after: Mapped[str | None] = mapped_column(String(64))
    tokens_before: Mapped[str | None] = mapped_column(String(64))
    tokens_after: Mapped[str | None] = mapped_column(String(64))
    # The end of the cooldown that an operator began, or ended.
    cools_until: Mapped[datetime | None]
    until: Mapped[datetime | None]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())
