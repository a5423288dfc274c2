"""Models of the actions of people."""

from __future__ import annotations

import uuid
from datetime import datetime

from agentq.operations.schemas.record import Record


class ByHand(Record):
    """The person who gave a job its result, with reason and time."""

    actor: str
    reason: str
    created_at: datetime


class Action(Record):
    """One thing that an operator did."""

    job_id: uuid.UUID | None
    action: str
    actor: str
    reason: str
    created_at: datetime
