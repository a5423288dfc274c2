"""Workers in the ledger: each has a row with its lease."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Float, bindparam, delete, false, func, null, update
from sqlalchemy.dialects import postgresql, sqlite

from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import WorkerRow
from agentq.ledger.transaction import Transaction


def _enter_or_renew(dialect: Any) -> Any:
    lease_until = seconds_from_now(bindparam("lease", type_=Float()))
    new = dialect.insert(WorkerRow).values(lease_until=lease_until)
    return new.on_conflict_do_update(
        index_elements=["id"],
        set_={
            "seen_at": now(),
            "lease_until": lease_until,
            "stopped_at": null(),
            "knows": func.coalesce(new.excluded.knows, WorkerRow.knows),
        },
    )


_REGISTER = {dialect.dialect.name: _enter_or_renew(dialect) for dialect in (postgresql, sqlite)}


def register(
    tx: Transaction,
    worker_id: uuid.UUID,
    *,
    hostname: str,
    pid: int,
    lease: float,
    knows: Knowledge | None = None,
) -> None:
    """Give a worker process a lease of *lease* seconds, and enter it where it is not known; with one statement.

    *knows* is its report of itself; None leaves the last one.
    """
    values = {"id": worker_id, "hostname": hostname[:255], "pid": pid, "lease": lease}
    values["knows"] = None if knows is None else knows.dump()
    tx.connection.execute(_REGISTER[tx.connection.dialect.name], values)


def write_nothing(tx: Transaction) -> None:
    """Write, but no row: the database says whether its user may."""
    tx.connection.execute(update(WorkerRow).where(false()).values(pid=WorkerRow.pid))


def sign_off(tx: Transaction, worker_id: uuid.UUID) -> None:
    """End the worker's lease at once: it runs nothing any more."""
    tx.connection.execute(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(lease_until=seconds_from_now(-1.0), stopped_at=now())
    )


def forget_gone(tx: Transaction, after: float) -> None:
    """Delete workers whose lease ended over *after* seconds ago; their jobs have been rescued long since."""
    tx.connection.execute(delete(WorkerRow).where(WorkerRow.lease_until < seconds_from_now(-after)))


def count_refused(tx: Transaction, worker_id: uuid.UUID, refused: int = 1) -> None:
    """Count messages that were refused: garbage, a foreign name, a job that does not exist."""
    tx.connection.execute(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(refused_messages=WorkerRow.refused_messages + refused)
    )
