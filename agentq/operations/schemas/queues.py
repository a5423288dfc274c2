"""The model of queues."""

from __future__ import annotations

from agentq.operations.schemas.record import Record
from agentq.states import JobStatus


class Queue(Record):
    """One queue, in the ledger and at the broker."""

    name: str
    depth: int | None
    """Messages at the broker that no worker has taken; None where the broker was not asked, or did not answer."""
    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None
    """Seconds since the queued job that waits longest was last dispatched."""
    capped: tuple[JobStatus, ...]
    """The counts at which counting stopped: there are at least that many."""
