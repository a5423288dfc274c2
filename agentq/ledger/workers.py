"""Workers in the ledger: who holds a lease until when."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, bindparam, delete, insert, update

from agentq.ledger.models import WorkerRow
from agentq.ledger.types import now, seconds_from_now

_RENEW = (
    update(WorkerRow)
    .where(WorkerRow.id == bindparam("worker"))
    .values(seen_at=now(), lease_until=seconds_from_now(bindparam("lease")), stopped_at=None)
)


def register(connection: Connection, worker_id: uuid.UUID, *, hostname: str, pid: int, lease: float) -> None:
    """Enter a worker process with a lease of *lease* seconds; entering it twice is harmless."""
    if not renew(connection, worker_id, lease):
        connection.execute(
            insert(WorkerRow).values(
                id=worker_id, hostname=hostname[:255], pid=pid, lease_until=seconds_from_now(lease)
            )
        )


def renew(connection: Connection, worker_id: uuid.UUID, lease: float) -> bool:
    """Extend the lease to *lease* seconds from now; False where the worker is not known."""
    return connection.execute(_RENEW, {"worker": worker_id, "lease": lease}).rowcount == 1


def sign_off(connection: Connection, worker_id: uuid.UUID) -> None:
    """End the worker's lease at once: it runs nothing any more."""
    connection.execute(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(lease_until=seconds_from_now(-1.0), stopped_at=now())
    )


def forget_gone(connection: Connection, after: float) -> None:
    """Delete workers whose lease ended over *after* seconds ago; their jobs have been rescued long since."""
    connection.execute(delete(WorkerRow).where(WorkerRow.lease_until < seconds_from_now(-after)))


def count_refused(connection: Connection, worker_id: uuid.UUID, refused: int = 1) -> None:
    """Count messages that were refused: garbage, a foreign name, a job that does not exist."""
    connection.execute(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(refused_messages=WorkerRow.refused_messages + refused)
    )
