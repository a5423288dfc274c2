"""Models of workers."""

from __future__ import annotations

import uuid
from datetime import datetime

from agentq.operations.schemas.jobs import JobSummary
from agentq.operations.schemas.record import Record
from agentq.states import WorkerStatus


class Worker(Record):
    """One worker process, from its start until a week after its end."""

    id: uuid.UUID
    hostname: str
    pid: int
    status: WorkerStatus
    running: int
    """The number of jobs it runs."""
    started_at: datetime
    seen_at: datetime
    lease_until: datetime
    stopped_at: datetime | None
    refused_messages: int


class WorkerDetails(Worker):
    """Everything about a worker."""

    queues: list[str]
    """The queues that it consumes, as it last reported; this and the next two are empty until then."""
    steps: list[str]
    """The steps that it can run."""
    tasks: list[str]
    """The plain Celery tasks that it can run."""

    jobs: list[JobSummary]
    """The jobs that it runs, newest first; of very many, the newest."""
