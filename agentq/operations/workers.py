"""Workers: list, get. What the ledger knows of them; it needs no answer from the workers themselves."""

from __future__ import annotations

from functools import partial

from agentq.exceptions import NotFound
from agentq.ledger.db.session import Ledger
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.queries import jobs, workers
from agentq.operations.identity import parse_id
from agentq.operations.jobs import summaries
from agentq.operations.schemas import Worker, WorkerDetails
from agentq.states import WorkerStatus

MOST_JOBS = 1_000
"""Jobs of one worker that are listed."""


def list_(ledger: Ledger, *, status: WorkerStatus | None = None, limit: int = 50) -> list[Worker]:
    """Return up to *limit* workers, newest first; they are forgotten a week after their end."""
    found = ledger.read(partial(workers.find, status=status, limit=limit))
    return [Worker.model_validate(row) for row in found]


def get(ledger: Ledger, worker_id: str) -> WorkerDetails:
    """Return everything about one worker, with the jobs that it runs; raises NotFound."""
    wanted = parse_id(worker_id, "worker")
    row, running = ledger.read(
        lambda connection: (
            workers.get(connection, wanted),
            jobs.find(connection, jobs.running_on(wanted), MOST_JOBS),
        )
    )
    if row is None:
        raise NotFound(f"no worker has the id {worker_id}; list them with: agentq workers list")
    knows = Knowledge.load(row.knows or "{}")
    return WorkerDetails(
        **Worker.model_validate(row).model_dump(),
        queues=sorted(knows.queues),
        steps=sorted(knows.steps),
        tasks=sorted(knows.tasks),
        jobs=summaries(running),
    )
