"""Workers: list, get. What the ledger knows of them; it needs no answer from the workers themselves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, case, func, select

from agentq.exceptions import NotFound
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import now
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import JobRow, WorkerRow
from agentq.operations import jobs
from agentq.operations.identity import parse_id
from agentq.operations.schemas import Worker, WorkerDetails
from agentq.states import JobStatus, WorkerStatus

MOST_JOBS = 1_000
"""Jobs of one worker that are listed."""

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


def list_(ledger: Ledger, *, status: WorkerStatus | None = None, limit: int = 50) -> list[Worker]:
    """Return up to *limit* workers, newest first; they are forgotten a week after their end."""
    query = _WORKERS.order_by(WorkerRow.started_at.desc(), WorkerRow.id).limit(limit)
    if status is not None:
        query = query.where(_status == status)
    return ledger.read(lambda connection: [Worker.model_validate(row) for row in connection.execute(query)])


def get(ledger: Ledger, worker_id: str) -> WorkerDetails:
    """Return everything about one worker, with the jobs that it runs; raises NotFound."""
    wanted = parse_id(worker_id, "worker")

    def read(connection: Connection) -> WorkerDetails:
        row = connection.execute(_WORKERS.where(WorkerRow.id == wanted)).one_or_none()
        if row is None:
            raise NotFound(f"no worker has the id {worker_id}; list them with: agentq workers list")
        knows = Knowledge.load(row.knows or "{}")
        return WorkerDetails(
            **Worker.model_validate(row).model_dump(),
            queues=sorted(knows.queues),
            steps=sorted(knows.steps),
            tasks=sorted(knows.tasks),
            jobs=jobs.running_on(connection, wanted, limit=MOST_JOBS),
        )

    return ledger.read(read)
