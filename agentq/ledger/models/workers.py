"""The table of workers."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    Text,
)
from sqlalchemy.orm import Mapped, mapped_column

from agentq.ledger.db.types import now
from agentq.ledger.models.base import Base


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
