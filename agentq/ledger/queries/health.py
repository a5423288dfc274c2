"""The settings of the ledger's database, and the number of jobs that should have moved and have not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select

from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import JobRow, WorkerRow
from agentq.states import JobStatus

_over = select(WorkerRow.id).where(WorkerRow.lease_until < now())


def sqlite_version(connection: Connection) -> str:
    """Return the version of SQLite."""
    return str(connection.scalar(select(func.sqlite_version())))


def journal_mode(connection: Connection) -> str:
    """Return SQLite's journal mode."""
    return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())


def settings(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """Return settings of PostgreSQL by name, as the ledger's connections have them."""
    return {name: str(connection.scalar(select(func.current_setting(name)))) for name in names}


def late_jobs(connection: Connection, seconds: float) -> int:
    """Count the jobs that were due over *seconds* ago and are still scheduled."""
    return _count(
        connection, (JobRow.status == JobStatus.SCHEDULED) & (JobRow.due_at < seconds_from_now(-seconds))
    )


def orphaned_jobs(connection: Connection) -> int:
    """Count the jobs that are running on workers whose lease is over."""
    return _count(connection, (JobRow.status == JobStatus.RUNNING) & JobRow.worker_id.in_(_over))


def _count(connection: Connection, where: Any) -> int:
    return connection.scalar(select(func.count()).select_from(JobRow).where(where)) or 0
