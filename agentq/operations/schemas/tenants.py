"""Models of tenants."""

from __future__ import annotations

from datetime import datetime

from agentq.operations.schemas.record import Record


class Tenant(Record):
    """One tenant, and what operators have set for it; all others weigh 1."""

    tenant: str
    weight: float
    max_open: int | None = None
    """The cap of its open workflows; None for the setting ``max_open`` of the programs that start them."""
    open: int = 0
    is_capped: bool = False
    """True where there are more than were counted."""


class TenantChange(Record):
    """One change that an operator made to a tenant: to its weight, or to how many of its workflows may be open."""

    tenant: str
    before: int | None
    after: int | None
    """The number of workflows that may be open; None for as many as code says."""
    weight_before: float | None
    weight_after: float | None
    """None where the change is not of the weight."""
    actor: str
    reason: str
    created_at: datetime


class TenantDetails(Tenant):
    """Everything about a tenant."""

    oldest_at: datetime | None
    """The start of the oldest of its open workflows."""
    postponed: int
    """Its workflows that wait until fewer are open, counted up to 10,000."""
    changes: list[TenantChange]
    """The last ones, newest first."""
