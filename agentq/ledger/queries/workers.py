"""Workers as the ledger knows them, with their status and the number of jobs that each runs."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import JobRow, WorkerRow
from agentq.states import JobStatus, WorkerStatus

_status = case(
    (WorkerRow.stopped_at.is_not(None), WorkerStatus.STOPPED),
    (WorkerRow.lease_until > now(), WorkerStatus.ALIVE),
    else_=WorkerStatus.LOST,
)
_running = (
    select(func.count())
    .where(JobRow.status == JobStatus.RUNNING, JobRow.worker_id == WorkerRow.id)
    .scalar_subquery()
)
_WORKERS: Select[*tuple[Any, ...]] = select(
    *WorkerRow.__table__.columns, _status.label("status"), _running.label("running")
)
_ALIVE = (
    select(WorkerRow.hostname, WorkerRow.refused_messages, WorkerRow.started_at)
    .where(WorkerRow.lease_until > now(), WorkerRow.stopped_at.is_(None))
    .order_by(WorkerRow.hostname)
)


def find(connection: Connection, status: WorkerStatus | None, limit: int) -> Sequence[AnyRow]:
    """Return up to *limit* workers, newest first, of one status or of any."""
    query = _WORKERS.order_by(WorkerRow.started_at.desc(), WorkerRow.id).limit(limit)
    return connection.execute(query if status is None else query.where(_status == status)).all()


def get(connection: Connection, worker_id: uuid.UUID) -> AnyRow | None:
    """Return one worker, or None."""
    return connection.execute(_WORKERS.where(WorkerRow.id == worker_id)).one_or_none()


def alive(connection: Connection) -> Sequence[AnyRow]:
    """Return name, number of refused messages and start of each live worker, by name."""
    return connection.execute(_ALIVE).all()


def names(connection: Connection, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the host names of workers by their ids."""
    query = select(WorkerRow.id, WorkerRow.hostname).where(WorkerRow.id.in_(ids))
    return {row.id: row.hostname for row in connection.execute(query)}
