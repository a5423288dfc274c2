"""Models of schedules and of their changes."""

from __future__ import annotations

import uuid
from datetime import datetime

from agentq.operations.schemas.record import Record


class SchedulePause(Record):
    """The pause of a schedule: since when, until when, by whom and why."""

    since: datetime
    until: datetime | None
    """None where it lasts until the schedule is resumed."""
    actor: str
    """The person, or "agentq" where its canvas could not be started."""
    reason: str


class Schedule(Record):
    """One schedule: its canvas, its times, and the numbers of its ticks."""

    name: str
    tenant: str
    canvas: str
    """The steps of its canvas."""
    cron: str | None
    every: int | None
    """Seconds between two ticks."""
    timezone: str
    overlap: str
    catch_up: int
    catch_up_window: float
    """Seconds."""
    next_at: datetime
    """The next tick; of a paused schedule, the first that was not started."""
    last_tick: datetime | None
    """The last tick that started a workflow."""
    last_workflow_id: uuid.UUID | None
    owed_for: datetime | None
    """The tick whose workflow begins when the last one has ended."""
    started: int
    missed: int
    skipped: int
    """The number of ticks that started nothing, as an earlier workflow was open."""
    pause: SchedulePause | None


class ScheduleChange(Record):
    """One change of a schedule."""

    action: str
    details: str | None
    until: datetime | None
    actor: str
    reason: str
    created_at: datetime


class ScheduleDetails(Schedule):
    """Everything about a schedule."""

    coming: list[datetime]
    """The next ticks."""
    changes: list[ScheduleChange]
    """The last ones, newest first."""


class TriggeredSchedule(Record):
    """The result of a tick that a person asked for."""

    name: str
    tenant: str
    workflow_id: uuid.UUID | None
    """None where it is owed: it begins when the last workflow has ended."""


class BackfilledSchedule(Record):
    """The ticks of a time that is past, and how many workflows were started for them now."""

    name: str
    tenant: str
    ticks: list[datetime]
    started: int
    """The other ticks had started theirs before."""
