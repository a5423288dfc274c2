"""Models of limits: their meters, lines, holders and changes."""

from __future__ import annotations

import uuid
from datetime import datetime

from agentq.operations.schemas.jobs import JobSummary
from agentq.operations.schemas.record import Record
from agentq.states import MeterSource


class NumberPerTime(Record):
    """The starts, or the tokens, that a period of a limit may have."""

    limit: int
    per: float
    """Seconds of the period."""

    def __str__(self) -> str:
        return f"{self.limit}/{self.per:g}"


class Override(Record):
    """The meters of a limit that an operator has set in place of those that code declares; None for the others."""

    slots: int | None
    rate: NumberPerTime | None
    tokens: NumberPerTime | None
    until: datetime | None
    actor: str
    reason: str


class Sources(Record):
    """The sources of the numbers of a limit that are in force; None for a meter that it does not have."""

    slots: MeterSource | None
    rate: MeterSource | None
    tokens: MeterSource | None


class CoolingLimit(Record):
    """A limit that cools, or has cooled and opens by degrees."""

    until: datetime
    seconds: float
    """Seconds to its end; 0 where that has passed, and fewer jobs may run at once than there are slots."""
    reason: str
    """The answer of the provider, such as 429; or who said so, and why."""


class Limit(Record):
    """One limit: its meters, and how many jobs hold or await it."""

    name: str
    slots: int | None
    """The slots in force: those of the override, or else those that code declares. With 0 it is paused."""
    declared: int | None
    """The slots that code declares; None for any number."""
    at_once: int | None
    """The jobs that may hold it now: its slots, or fewer after a cooldown. None for any number."""
    rate: NumberPerTime | None
    """The attempts that may start in a period; None for any number."""
    declared_rate: NumberPerTime | None
    tokens: NumberPerTime | None
    """The tokens that attempts may use in a period; None for any number."""
    declared_tokens: NumberPerTime | None
    sources: Sources
    """Those of the numbers in force: code, the limits file, or the override of an operator."""
    declared_sources: Sources
    """Those of the declared numbers: code or the limits file."""
    cooldown: CoolingLimit | None
    override: Override | None
    used: int
    """The number of jobs that hold a slot; more than the slots, if these were lowered since."""
    waiting: int
    """The number of jobs in its line, counted up to 1,000."""
    is_capped: bool
    """True where counting stopped: there are at least that many."""


class LineOfTenant(Record):
    """The jobs of one tenant in the line of a limit."""

    tenant: str
    weight: float
    served: float
    """A measure of the slots that it was given, divided by its weight: the least one comes next."""
    waiting: int
    """The number of its jobs, counted up to 1,000."""
    is_capped: bool


class Hold(Record):
    """A slot of a limit that an attempt holds beside those of its job."""

    job_id: uuid.UUID
    step: str
    attempt: int
    is_running: bool
    """True where the attempt runs, and took the slot for a block of its step; False where it is over."""
    until: datetime | None
    """The time from which no code of it can run, for a strict limit: a lost attempt keeps the slot until then."""
    created_at: datetime


class LimitChange(Record):
    """One change that an operator made to a limit."""

    name: str
    before: int | None
    after: int | None
    """The slots that were in force before it, and after it."""
    rate_before: str | None
    rate_after: str | None
    """The starts of a period, such as 500/60."""
    tokens_before: str | None
    tokens_after: str | None
    cools_until: datetime | None
    """The end of the cooldown that it began, or ended; None where it changed a meter."""
    until: datetime | None
    """The end of the override; None where it has none, or was cleared."""
    actor: str
    reason: str
    created_at: datetime


class LimitDetails(Limit):
    """Everything about a limit."""

    tenants: list[LineOfTenant]
    """The tenants whose jobs stand in its line, the next one first; up to 100."""
    holders: list[JobSummary]
    """The jobs that hold a slot of it, newest first; up to 100."""
    holds: list[Hold]
    """The slots that attempts took inside their steps, or keep though they were lost, newest first; up to 100."""
    changes: list[LimitChange]
    """The last changes that operators made, newest first; up to 10."""
