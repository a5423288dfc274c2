"""A ledger whose jobs have limits, and a worker for it that is told which jobs were published."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from celery import Signature
from sqlalchemy import URL, select, update

from agentq import Concurrency, step
from agentq.canvas.compile import Defaults, compile_canvas
from agentq.ledger import attempts, naming, starts
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow, LimitRow, TurnRow
from agentq.ledger.records import Claim, Dispatch
from agentq.outcomes import Outcome, Succeed
from agentq.states import JobStatus
from agentq.steps import registry
from agentq.steps.naming import JobLimits, Naming
from tests.support.fake_worker import Catalogue, FakeWorker

SLOTS = 2
DONE = Succeed("null")


@step(limits=[Concurrency("model", key="model", limit=SLOTS)])
def ask(model: str = "small") -> str:
    """A call of a model of which few may run at once."""
    return model


@step(limits=[Concurrency("model", key="model", limit=SLOTS)])
def split(model: str = "small") -> list[int]:
    """A call of a model, with a branch for each part of its result."""
    return [1, 2, 3]


@step(limits=[Concurrency("gpu", limit=1), Concurrency("model", key="model", limit=SLOTS)])
def train(model: str = "small") -> str:
    """A call that needs slots of two limits."""
    return model


@step(limits=[Concurrency("gpu", limit=1)])
def render() -> str:
    """A call that needs one of the limits of ``train`` only."""
    return "picture"


class LimitedWorker(FakeWorker):
    """A worker that gets the messages that the ledger publishes, in their order."""

    def __init__(self, url: str | URL) -> None:
        self.ordered: dict[str, int] = {}
        self.published: deque[Dispatch] = deque()
        super().__init__(Ledger(url, publish=self.published.extend, naming=self.naming))

    def naming(self) -> Naming:
        """Return what names the limits of jobs."""
        return Naming(ordered=self.ordered)

    def begin_all(
        self, canvases: Iterable[Signature], *, tenant: str = "acme", priority: int | None = None
    ) -> list[uuid.UUID]:
        """Start a workflow for each canvas; returns the ids of their first jobs."""
        defaults = Defaults(priority, tenant=tenant, naming=self.naming())
        graphs = [compile_canvas(canvas, Catalogue(), defaults) for canvas in canvases]
        write = self.ledger.write
        new = [write(lambda tx, graph=graph: starts.start(tx, graph, tenant=tenant, key=None)) for graph in graphs]
        return [self.jobs(started.workflow_id)[0].id for started in new]

    def begin_at_once(self, canvases: Iterable[Signature], *, tenant: str = "acme") -> list[uuid.UUID]:
        """Start a workflow for each canvas in one transaction; returns their ids."""
        defaults = Defaults(tenant=tenant, naming=self.naming())
        graphs = [compile_canvas(canvas, Catalogue(), defaults) for canvas in canvases]
        plans = [starts.plan(graph, tenant=tenant, key=None) for graph in graphs]
        return [started.workflow_id for started in self.ledger.write(lambda tx: starts.start_all(tx, plans))]

    def end(self, claimed: Claim, outcome: Outcome = DONE, used: attempts.Used = None) -> bool:
        """Record an outcome of an attempt, with one statement where the worker would."""
        one_statement = attempts.is_one_statement(claimed, outcome, used)
        write = self.ledger.write_statement if one_statement else self.ledger.write
        return write(lambda tx: attempts.record(tx, claimed, outcome, used=used))

    def name(self, dispatch: Dispatch) -> JobStatus | None:
        """Name the limits of a job, as the worker of its first message does; returns the job's status."""
        job = self.ledger.read(lambda connection: naming.find_unnamed(connection, dispatch.job_id))
        if job is None:
            return None
        limits = self.limits_of(job)
        return self.ledger.write(lambda tx: naming.name_limits(tx, job, limits))

    def limits_of(self, job: naming.Unnamed) -> JobLimits:
        """Return the limits of a job whose arguments are known."""
        step = registry.find(job.step)
        assert step is not None
        return self.naming().name(step, job.queue, job.tenant, step.parameters.loaded(job.args, job.kwargs))

    @contextmanager
    def dying(self) -> Iterator[None]:
        """Let what follows each commit be lost, as where the process dies after it."""
        publish, self.ledger.publish = self.ledger.publish, None
        try:
            yield
        finally:
            self.ledger.publish = publish

    def set(self, job_id: uuid.UUID, **columns: Any) -> None:
        """Set columns of a job."""
        self.ledger.write(
            lambda tx: tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(columns))
        )

    def next(self) -> Claim:
        """Claim the job of the first message."""
        return self.take(self.published.popleft())

    def statuses(self, jobs: Iterable[uuid.UUID]) -> list[str]:
        """Return the status of each job."""
        return [self.job(job).status for job in jobs]

    def queued(self) -> list[uuid.UUID]:
        """Return the ids of the jobs whose messages nobody has taken."""
        return [dispatch.job_id for dispatch in self.published]

    def limit(self, name: str) -> Any:
        """Return the row of a limit."""
        return self._rows(select(LimitRow.__table__).where(LimitRow.name == name))[0]

    def turn(self, name: str, tenant: str) -> Any:
        """Return the row of a tenant's turn."""
        return self._rows(select(TurnRow.__table__).where(TurnRow.name == name, TurnRow.tenant == tenant))[0]


QUEUED, BLOCKED, SUCCEEDED = JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.SUCCEEDED
