"""The machine without rules: its ledger, its workers, what it checks after every move and at the end."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, run_state_machine_as_test

from agentq.ledger import moves
from agentq.ledger.after_commit import AfterCommit
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import Dispatch
from agentq.ledger.transaction import Transaction
from agentq.operations import dead_letters, jobs, workflows
from agentq.states import FAN_INS
from tests.stateful import snapshot
from tests.stateful.auditing import audit_quickly
from tests.stateful.ending import bring_to_an_end
from tests.stateful.model import Message, Model
from tests.stateful.snapshot import Snapshot
from tests.support.fake_worker import FakeWorker, written
from tests.support.ledgers import put_back, sqlite_file

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

TENANTS = ("acme", "globex")
WORKERS = st.integers(0, 2)
ALL = 1000


def some(of: Callable[[Any], Sequence[T]]) -> st.SearchStrategy[T]:
    """One of what the machine has now; for rules with the precondition that it has any."""
    return st.runner().flatmap(lambda machine: st.sampled_from(of(machine)))


def some_job(of: Callable[[Any], Sequence[AnyRow]]) -> st.SearchStrategy[str]:
    """The name of one of the jobs that the machine has now."""
    return some(lambda machine: [machine.model.labels[job.id] for job in of(machine)])


_MOST_DISTURBANCES = 10


def harmless(function: F) -> F:
    """For rules that must change nothing: only so many of them, or they would be most of a run."""
    return precondition(lambda machine: machine.disturbances < _MOST_DISTURBANCES)(function)


def given_any(of: Callable[[Any], Collection[Any]]) -> Callable[[F], F]:
    """The precondition that the machine has any of these."""

    def decorate(function: F) -> F:
        return precondition(lambda machine: bool(of(machine)))(function)

    return decorate


class Unfollowed(Ledger):
    """A ledger that does nothing after its commits: it notes what was to be done."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.works: dict[AfterCommit, None] = {}

    def write(self, work: Callable[[Transaction], T], **options: Any) -> T:
        def noted(tx: Transaction) -> tuple[T, list[AfterCommit]]:
            done = work(tx)
            moves.change_workflows(tx)
            return done, tx.take_works()

        done, works = super().write(noted, **options)
        self.works.update(dict.fromkeys(works))
        return done


class OnOneLedger(RuleBasedStateMachine):
    """A machine of one ledger on SQLite; ``explore`` runs it."""

    template: ClassVar[str]
    """The URL of an empty ledger with its schema."""
    ledger: ClassVar[Unfollowed]
    """One for all runs, each of which begins with a copy of the template in it."""

    def __init__(self) -> None:
        super().__init__()
        put_back(self.ledger, self.template)
        self.ledger.works.clear()


def explore(machine: type[OnOneLedger], template_url: str, folder: Path, *, runs: int, steps: int) -> None:
    """Run a machine *runs* times, up to *steps* rules each, on a ledger in *folder*."""
    with closing(Unfollowed(sqlite_file(folder))) as ledger:
        run_state_machine_as_test(
            type(machine.__name__, (machine,), {"template": template_url, "ledger": ledger}),
            settings=settings(
                max_examples=runs,
                stateful_step_count=steps,
                deadline=None,
                database=None,  # a failure is reproduced by the line that it prints
                print_blob=True,
                phases=[Phase.generate, Phase.shrink],  # to explain a failure, it would trace every line
                suppress_health_check=list(HealthCheck),
            ),
        )


class LedgerMachine(OnOneLedger):
    """Three workers, and the machine's own book of what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = [FakeWorker(self.ledger) for _ in range(3)]
        self.model = Model()
        self.seen = self.ledger.read(snapshot.take_snapshot)
        self.before = self.seen
        self.disturbances = self.cancels = 0
        self.dispatched: tuple[Dispatch, ...] = ()
        self._audited: Snapshot | None = None
        self._listed: tuple[int, ...] | None = None

    @property
    def caretaker(self) -> FakeWorker:
        """The worker that does what any worker's caretaker may do."""
        return self.workers[0]

    def move(self, work: Callable[[], T], *only: uuid.UUID, reopened: Collection[uuid.UUID] = ()) -> T:
        """Do one thing and check what changed: only what is allowed, and only in the workflows *only*."""
        self.before = self.seen
        done = work()
        self.seen = self.ledger.read(snapshot.take_snapshot)
        self.model.label(self.seen)
        self.model.note_dead(self.before, self.seen)
        snapshot.check_kept(self.before, self.seen, reopened)
        snapshot.check_moves(self.before, self.seen)
        assert snapshot.touched(self.before, self.seen) <= {*only}, "another workflow was touched"
        return done

    def write(self, work: Callable[[Transaction], T], *only: uuid.UUID, reopened: Collection[uuid.UUID] = ()) -> T:
        """Make one move in one transaction; what it dispatches is ``dispatched``."""
        return self.move(partial(self._write, work), *only, reopened=reopened)

    def _write(self, work: Callable[[Transaction], T]) -> T:
        done = self.ledger.write(written(work))
        self.dispatched = done.dispatches
        return done.value

    def look(self, work: Callable[[], T]) -> T:
        """Do one thing that must change nothing."""
        self.disturbances += 1
        done = self.move(work)
        assert self.seen == self.before, "what must change nothing changed something"
        return done

    def publish(self, dispatches: Iterable[Dispatch]) -> None:
        """Send the messages of the last move; it must have given a message to each job that became ready."""
        dispatches = list(dispatches)
        expected = sorted(snapshot.became_queued(self.before, self.seen))
        assert sorted(dispatch.job_id for dispatch in dispatches) == expected, (
            "a job became ready without a message, or twice"
        )
        self.send(dispatches)

    def send(self, dispatches: Iterable[Dispatch]) -> None:
        """Send messages; each must say what the ledger says."""
        for dispatch in sorted(
            dispatches, key=lambda dispatch: dispatch.job_id
        ):  # each run of a story must be the same
            job = self.seen.jobs[dispatch.job_id]
            sent = (
                dispatch.workflow_id,
                dispatch.tenant,
                dispatch.step,
                dispatch.kind,
                dispatch.queue,
                dispatch.after_id,
            )
            assert sent == (job.workflow_id, job.tenant, job.step, job.kind, job.queue, job.after_id)
            self.model.messages.append(Message(dispatch, self.model.labels[dispatch.job_id]))

    @invariant()
    def is_sound(self) -> None:
        self.model.check(self.seen)
        self._check_audit()
        self._check_tenants()

    def _check_audit(self) -> None:
        """The audit finds nothing."""
        if self._audited is None or self._audited != self.seen:
            assert self.ledger.read(audit_quickly) == []
            self._audited = self.seen

    def _check_tenants(self) -> None:
        """Each tenant is shown its own workflows and jobs, all of them, and no others."""
        counts = len(self.seen.workflows), len(self.model.letters)
        if counts == self._listed:  # no row changes its tenant, so only what is new can be shown to the wrong one
            return
        self._listed = counts
        owners = {workflow.id: workflow.tenant for workflow in self.model.workflows}
        real = {job.id: job.workflow_id for job in self.seen.jobs.values() if job.kind not in FAN_INS}
        for tenant in TENANTS:
            shown = workflows.list_(self.ledger, workflows.WorkflowFilter(tenant=tenant), limit=ALL)
            assert {item.id for item in shown} == {key for key, owner in owners.items() if owner == tenant}
            listed = jobs.list_(self.ledger, jobs.JobFilter(tenant=tenant), limit=ALL)
            assert {item.id for item in listed} == {key for key, of in real.items() if owners[of] == tenant}
            wanted = dead_letters.DeadLetterFilter(status=None, tenant=tenant)
            dead = {item.job_id for item in dead_letters.list_(self.ledger, wanted, limit=ALL)}
            assert dead == {key for key in self.model.letters if owners[self.seen.jobs[key].workflow_id] == tenant}

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # otherwise the run has failed already, or was given up by Hypothesis
            bring_to_an_end(self.ledger, self.workers, self.model)
