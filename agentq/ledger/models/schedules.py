"""The tables of schedules and of their changes."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from agentq.ledger.db.types import now
from agentq.ledger.models.base import Base, partial_index


class ScheduleRow(Base):
    """A canvas and the times at which it is started: a cron text in a time zone, or an interval."""

    __tablename__ = "agentq_schedules"
    __table_args__ = (
        CheckConstraint("(cron IS NULL) <> (every IS NULL)", name="has_times"),
        CheckConstraint("next_at > since", name="goes_forward"),
        Index("uq_agentq_schedules_name", "name", "tenant", unique=True),
        partial_index("ix_agentq_schedules_due", "next_at", "id", where="paused_at IS NULL"),
        partial_index("ix_agentq_schedules_paused", "paused_until", where="paused_until IS NOT NULL"),
        partial_index("ix_agentq_schedules_owed", "owed_for", "id", where="owed_for IS NOT NULL"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str] = mapped_column(String(100))
    # The graph of its canvas, and the terms of its starts, as JSON.
    canvas: Mapped[str] = mapped_column(Text)
    terms: Mapped[str | None] = mapped_column(Text)
    cron: Mapped[str | None] = mapped_column(String(100))
    every: Mapped[int | None]
    timezone: Mapped[str] = mapped_column(String(64))
    overlap: Mapped[str] = mapped_column(String(16))
    # How many missed ticks start a workflow, and the age in seconds up to which.
    catch_up: Mapped[int]
    catch_up_window: Mapped[float] = mapped_column(Float)
    # A digest of all of the above: newer code that says otherwise has another one.
    digest: Mapped[str] = mapped_column(String(64))
    # The next tick, and the time up to which all ticks are done with; it only increases.
    next_at: Mapped[datetime]
    since: Mapped[datetime]
    # The last tick that started a workflow, that workflow, and the tick that is to start one when it has ended.
    last_tick: Mapped[datetime | None]
    last_workflow_id: Mapped[uuid.UUID | None]
    owed_for: Mapped[datetime | None]
    # The number of workflows that were started, and of ticks that started none: their time was over, or an earlier
    # workflow was open.
    started: Mapped[int] = mapped_column(BigInteger, server_default="0")
    missed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    skipped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # Since when it is paused, until when, by whom and why.
    paused_at: Mapped[datetime | None]
    paused_until: Mapped[datetime | None]
    paused_by: Mapped[str | None]
    pause_reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class ScheduleChangeRow(Base):
    """One change of a schedule, by an operator or by newer code: what, who, why."""

    __tablename__ = "agentq_schedule_changes"
    __table_args__ = (Index("ix_agentq_schedule_changes_name", "name", "tenant", "id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str] = mapped_column(String(16))
    # What is different now, such as its times; the end of a pause.
    details: Mapped[str | None] = mapped_column(Text)
    until: Mapped[datetime | None]
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())
