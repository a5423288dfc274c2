"""Ids that begin alike, and those of a workflow's key or a worker's name."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import DeadLetterRow, JobRow, WorkerRow, WorkflowRow

_COLUMNS: dict[str, tuple[Any, ...]] = {
    "workflow": (WorkflowRow.id,),
    "job": (JobRow.id,),
    "dead-letter": (DeadLetterRow.id, DeadLetterRow.job_id),
    "worker": (WorkerRow.id,),
}


def between(connection: Connection, noun: str, first: uuid.UUID, last: uuid.UUID, limit: int) -> list[uuid.UUID]:
    """Return up to *limit* ids of a noun from *first* to *last*; of dead letters as many of their jobs too."""
    queries = [
        select(column).where(column.between(first, last)).distinct().order_by(column).limit(limit)
        for column in _COLUMNS[noun]
    ]
    return [found for query in queries for found in connection.scalars(query)]


def with_key(connection: Connection, key: str, limit: int) -> Sequence[AnyRow]:
    """Return id and tenant of up to *limit* workflows that have a key."""
    return connection.execute(
        select(WorkflowRow.id, WorkflowRow.tenant).where(WorkflowRow.key == key).limit(limit)
    ).all()


def newest_worker(connection: Connection, hostname: str) -> uuid.UUID | None:
    """Return the last worker that had a name, or None."""
    named = select(WorkerRow.id).where(WorkerRow.hostname == hostname).order_by(WorkerRow.id.desc())
    return connection.scalar(named.limit(1))
