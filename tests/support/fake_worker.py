"""A worker without processes: moves jobs on a ledger by its public functions, one move at a time."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from celery import current_app
from sqlalchemy import Connection, select, update

from agentq.canvas.compile import Defaults, compile_canvas
from agentq.canvas.graph import Graph
from agentq.ledger import attempts, moves, starts, workers
from agentq.ledger.caretaking import due_jobs
from agentq.ledger.caretaking.rescues import DecideLoss
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow, seconds_from_now
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.ledger.queries import workflows as ledger_workflows
from agentq.ledger.records import Claim, Dispatch
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Fail, Failure, Outcome, RetryLater, Succeed
from agentq.states import JobKind
from agentq.steps import registry
from agentq.steps.definition import StepDefinition

T = TypeVar("T")

FAILURE = Failure("error", "ValueError", "no such thing", "in line 1")


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """The value that a transaction returned, and the jobs that it dispatched."""

    value: T
    dispatches: tuple[Dispatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """A start, and the jobs that it dispatched."""

    workflow_id: uuid.UUID
    is_new: bool
    dispatches: tuple[Dispatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """An outcome that was accepted or discarded, and the jobs that were dispatched with it."""

    accepted: bool
    dispatches: tuple[Dispatch, ...] = ()


def written(work: Callable[[Transaction], T]) -> Callable[[Transaction], Written[T]]:
    """Have *work* return what it dispatches too; nothing else is done with it."""
    return lambda tx: Written(work(tx), tuple(tx.take_dispatches()))


def started(tx: Transaction, graph: Graph, **options: Any) -> Started:
    """Start a workflow in an open transaction."""
    new = starts.start(tx, graph, **options)
    return Started(new.workflow_id, new.is_new, tuple(tx.take_dispatches()))


def record(tx: Transaction, claimed: Claim, outcome: Outcome) -> Recorded:
    """Record an outcome in an open transaction."""
    return Recorded(attempts.record(tx, claimed, outcome), tuple(tx.take_dispatches()))


def decided(pause: float) -> DecideLoss:
    """Return a policy that gives *pause* seconds before each attempt that the job may still have."""

    def decide(row: AnyRow, why: Failure) -> RetryLater | Fail:
        return RetryLater(why, pause) if row.attempt < row.max_attempts else Fail(why)

    return decide


class Catalogue:
    """The steps of this process, and plain tasks of any name."""

    def step(self, name: str) -> StepDefinition | None:
        return registry.find(name)

    def signature(self, name: str) -> inspect.Signature | None:
        task = current_app.tasks.get(name)
        return None if task is None else inspect.signature(task.run)

    def queue(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
        return "celery"


def graph_of(canvas: Any) -> Graph:
    """Compile a canvas of steps and of plain tasks, which may have any name."""
    return compile_canvas(canvas, Catalogue(), Defaults())


class FakeWorker:
    """A worker with a lease, on one ledger."""

    def __init__(self, ledger: Ledger, lease: float = 600) -> None:
        self.ledger = ledger
        self.worker_id = uuid.uuid4()
        self.renew(lease)

    def renew(self, lease: float, queues: Sequence[str] | None = None) -> None:
        """Make the lease end *lease* seconds from now, also in the past; report the *queues*, if given."""
        knows = None if queues is None else Knowledge(frozenset(queues), {}, {})
        who: dict[str, Any] = {"hostname": "fake", "pid": 1, "lease": lease, "knows": knows}
        self.ledger.write(lambda tx: workers.register(tx, self.worker_id, **who))

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Do *work* in one transaction; the messages of the jobs that it dispatches are lost."""
        return self.ledger.write(work, publish=_lose)

    def dispatched_by(self, work: Callable[[Transaction], object]) -> list[Dispatch]:
        """Do *work* in one transaction and return the jobs that it dispatches."""
        return list(self.ledger.write(written(work)).dispatches)

    def start(self, canvas: Any, *, tenant: str = "acme", key: str | None = None, **ids: Any) -> Started:
        """Start a canvas."""
        graph = graph_of(canvas)
        return self.ledger.write(lambda tx: started(tx, graph, tenant=tenant, key=key, **ids))

    def begin(self, canvas: Any) -> Claim:
        """Start a canvas with one first job and claim that."""
        return self.take(*self.start(canvas).dispatches)

    def claim(self, dispatch: Dispatch, token: int | None = None) -> Claim | None:
        """Claim a job as the message of *dispatch* would."""
        named = None if dispatch.kind == JobKind.TASK else dispatch.step
        token = token or moves.new_claim_token()
        return self.ledger.write(
            lambda tx: attempts.claim(
                tx, dispatch.job_id, named, self.worker_id, token, sent_to=dispatch.queue, pays=dispatch.pays
            )
        )

    def take(self, dispatch: Dispatch) -> Claim:
        """Claim a job that can be claimed."""
        claimed = self.claim(dispatch)
        assert claimed is not None, f"{dispatch} cannot be claimed: {self.job(dispatch.job_id)}"
        return claimed

    def record(self, claimed: Claim, outcome: Outcome) -> Recorded:
        """Record an outcome of an attempt."""
        return self.ledger.write(lambda tx: record(tx, claimed, outcome))

    def succeed(self, claimed: Claim, result: Any = None) -> Recorded:
        """Record that an attempt succeeded."""
        return self.record(claimed, Succeed(json.dumps(result)))

    def fail(self, claimed: Claim) -> Recorded:
        """Record that an attempt failed and that no other follows."""
        return self.record(claimed, Fail(FAILURE))

    def retry(self, claimed: Claim, delay: float = 0) -> Recorded:
        """Record that an attempt failed and that another follows."""
        return self.record(claimed, RetryLater(FAILURE, delay))

    def run(self, *dispatches: Dispatch, newest_first: bool = False) -> int:
        """Run the steps' functions until nothing is ready any more; returns how many jobs ran."""
        ready, count = list(dispatches), 0
        while ready:
            claimed = self.take(ready.pop(-1 if newest_first else 0))
            ready += self.succeed(claimed, _call(claimed)).dispatches
            count += 1
        return count

    def run_to_last(self, *dispatches: Dispatch) -> Claim:
        """Run the steps' functions up to the workflow's last job and return the claim of that."""
        ready = list(dispatches)
        while not (claimed := self.take(ready.pop(0))).is_last:
            ready += self.succeed(claimed, _call(claimed)).dispatches
        return claimed

    def due(self) -> list[Dispatch]:
        """Dispatch, as a caretaker, what is due."""
        return self.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 100))

    def age(self, job_id: uuid.UUID, **columns: float) -> None:
        """Set times of a job to so many seconds ago."""
        values = {name: seconds_from_now(-seconds) for name, seconds in columns.items()}
        self.ledger.write(
            lambda tx: tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
        )

    def workflow(self, workflow_id: uuid.UUID) -> AnyRow:
        """Return the workflow's row."""
        return self._rows(select(WorkflowRow.__table__).where(WorkflowRow.id == workflow_id))[0]

    def job(self, job_id: uuid.UUID) -> AnyRow:
        """Return the job's row."""
        return self._rows(select(JobRow.__table__).where(JobRow.id == job_id))[0]

    def jobs(self, workflow_id: uuid.UUID) -> list[AnyRow]:
        """Return the rows of all its jobs, oldest first."""
        return self._rows(select(JobRow.__table__).where(JobRow.workflow_id == workflow_id).order_by(JobRow.id))

    def history(self, job_id: uuid.UUID) -> list[tuple[int, str]]:
        """Return number and outcome of each finished attempt."""
        query = select(AttemptRow.number, AttemptRow.outcome).where(AttemptRow.job_id == job_id)
        return [(row.number, row.outcome) for row in self._rows(query.order_by(AttemptRow.number))]

    def result(self, workflow_id: uuid.UUID) -> Any:
        """Return the workflow's result; raises what made it fail."""

        def read(connection: Connection) -> Any:
            status = ledger_workflows.workflow_status(connection, workflow_id)
            return ledger_workflows.workflow_result(connection, status)[1]

        return self.ledger.read(read)

    def _rows(self, query: Any) -> list[AnyRow]:
        return self.ledger.read(lambda connection: list(connection.execute(query)))


def _call(claimed: Claim) -> Any:
    args, kwargs = json.loads(claimed.arguments)
    if claimed.inputs is not None:
        args = [json.loads(claimed.inputs), *args]
    step = registry.find(claimed.step)
    if step is None:
        return args[0]
    values, named = step.parameters.load(args, kwargs, None)
    return step.parameters.dump_result(step.parameters.function(*values, **named))


def _lose(dispatches: Sequence[Dispatch]) -> None:
    """Publish nothing, as a worker that dies after its commit."""
