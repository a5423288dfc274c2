"""Guards that no other test looks at alone: each test fails when one line of the engine is left out.

``scripts/mutants`` leaves them out. A worker's parts run in this process, on a broker in its memory.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Signature, group, signals

from agentq import AgentQ, each, step
from agentq.exceptions import AttemptFailed, StateConflict
from agentq.ledger import attempts, dead_letters
from agentq.ledger.caretaking import due_jobs, redelivery
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from agentq.operations import workflows as operations
from agentq.outcomes import Fail, Outcome, RetryLater, Succeed
from agentq.runtime.attempt import lease as lease_module
from agentq.runtime.attempt.attempt import AttemptRunner
from agentq.runtime.attempt.lease import Lease, current_lease
from agentq.runtime.caretaker import duties as duties_module
from agentq.runtime.caretaker.caretaker import Caretaker
from agentq.runtime.caretaker.duties import Duties
from agentq.runtime.caretaker.reserved import Reserved
from agentq.runtime.dispatch.message import DEAD_LETTER
from agentq.states import DeadLetterStatus, JobStatus, WorkflowStatus
from tests.support import Broker, client, eventually
from tests.support.clock import Clock
from tests.support.fake_worker import FAILURE, FakeWorker
from tests.support.steps import add, echo, fail, numbers, total

WHO: dict[str, Any] = {"actor": "ann", "reason": "the cause is gone"}
FANS_OUT = numbers.s(2) | each(add.s(1))


@step(retries=0)
def leave() -> None:
    raise SystemExit("enough")


@pytest.fixture
def queue() -> str:
    """A queue that no other test of this process has used."""
    return f"guards-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def agentq(ledger_url: str, queue: str) -> Iterator[AgentQ]:
    settings = {"lease": 1, "redispatch_after": 0.1, "dead_letter_queue": f"{queue}.dead"}
    with client(Broker("memory://", queue), ledger_url, **settings) as agentq:
        yield agentq


@pytest.fixture
def lease(agentq: AgentQ) -> Iterator[Lease]:
    """The lease of a worker that is this process; it is renewed for as long as the test runs."""
    lease = Lease.open(agentq.settings.lease)
    lease.renewed(time.monotonic() + 600)
    yield lease
    lease.close()


@pytest.fixture
def dispatched(fake: FakeWorker) -> Iterator[list[tuple[str, str | None]]]:
    """The published messages: the task and, for a job message, the status that others see of the job then."""
    seen: list[tuple[str, str | None]] = []

    def note(sender: str, headers: dict[str, Any], **_: Any) -> None:
        found = fake.ledger.read(lambda c: attempts.status_of(c, uuid.UUID(headers["id"])))
        seen.append((sender, found.status if found else None))

    signals.before_task_publish.connect(note, weak=False)
    yield seen
    signals.before_task_publish.disconnect(note)


def run(agentq: AgentQ, job: Any) -> dict[str, Any]:
    """Do what the message of a job makes a worker do."""
    return AttemptRunner(agentq, job.job_id, job.step).run()


class TestHandOver:
    @pytest.mark.parametrize("canvas", [FANS_OUT, numbers.s(2) | echo.s()], ids=["each", "step"])
    @pytest.mark.parametrize("outcome", [Succeed("[0, 1]"), RetryLater(FAILURE, 0), Fail(FAILURE)], ids=type)
    def test_an_outcome_and_what_follows_are_kept_together_or_not_at_all(
        self, fake: FakeWorker, canvas: Signature, outcome: Outcome
    ) -> None:
        claimed = fake.begin(canvas)
        before = fake.jobs(claimed.workflow_id)
        with fake.ledger.engine.connect() as connection, connection.begin() as transaction:
            assert attempts.record(Transaction(connection), claimed, outcome)
            transaction.rollback()
        assert (fake.jobs(claimed.workflow_id), fake.history(claimed.job_id)) == (before, [])
        assert fake.workflow(claimed.workflow_id).status == WorkflowStatus.RUNNING
        assert fake.run(*fake.succeed(claimed, [0, 1]).dispatches)

    def test_ready_jobs_are_published_after_the_commit(
        self, agentq: AgentQ, lease: Lease, dispatched: list[Any], fake: FakeWorker
    ) -> None:
        (dispatch,) = fake.start(FANS_OUT).dispatches
        run(agentq, dispatch)
        assert dispatched == [(add.name, JobStatus.QUEUED)] * 2

    def test_a_redelivered_message_publishes_undispatched_successors(
        self, agentq: AgentQ, lease: Lease, dispatched: list[Any], fake: FakeWorker
    ) -> None:
        (dispatch,) = fake.start(add.s(1, 2) | echo.s()).dispatches
        (undispatched,) = fake.succeed(
            fake.take(dispatch), 3
        ).dispatches  # and this worker dies before it has dispatched
        fake.age(undispatched.job_id, dispatched_at=2)
        assert run(agentq, dispatch) == {"dropped": JobStatus.SUCCEEDED}
        assert dispatched == [(echo.name, JobStatus.QUEUED)]
        assert run(agentq, dispatch) == {"dropped": JobStatus.SUCCEEDED}
        assert len(dispatched) == 1, "copies of one message multiply the messages of what follows"


class TestAttempts:
    def test_a_worker_without_a_valid_lease_claims_nothing_until_it_is_renewed(
        self, agentq: AgentQ, fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        lease, attempts_before = Lease.open(0.2), []

        def renew(_: float) -> None:
            attempts_before.append(fake.job(dispatch.job_id).attempt)
            lease.renewed(time.monotonic() + 600)

        monkeypatch.setattr(lease_module, "time", SimpleNamespace(sleep=renew, monotonic=time.monotonic))
        try:
            assert run(agentq, dispatch) == {"attempt": 1}
            assert attempts_before == [0]
        finally:
            lease.close()

    def test_a_stopped_worker_without_a_valid_lease_claims_nothing(self, agentq: AgentQ, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        lease = Lease.open(0.2)
        lease.note_ending()
        try:
            assert run(agentq, dispatch) == {"dropped": JobStatus.QUEUED}
            assert fake.job(dispatch.job_id).attempt == 0
        finally:
            lease.close()

    def test_trust_ends_before_the_lease(self, lease: Lease) -> None:
        lease.renewed(time.monotonic())
        assert 0 < current_lease().valid_for() < 0.95 * lease.seconds

    def test_a_step_that_ends_its_program_only_fails(self, agentq: AgentQ, lease: Lease, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(leave.s()).dispatches
        with pytest.raises(AttemptFailed, match="enough"):
            run(agentq, dispatch)
        assert fake.history(dispatch.job_id) == [(1, "failed")]

    def test_the_redispatch_pause_begins_anew_with_each_attempt(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        for _ in range(3):
            fake.age(dispatch.job_id, dispatched_at=60)
            assert fake.write(lambda tx: redelivery.redispatch(tx, "celery", 1.0, 10))
        fake.retry(fake.take(dispatch))
        fake.age(dispatch.job_id, dispatched_at=1.5)
        assert fake.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, 1.0)) == ["celery"]


class TestDeadLetters:
    @staticmethod
    def replay(fake: FakeWorker, job_id: uuid.UUID) -> None:
        fake.write(lambda tx: dead_letters.replay(tx, job_id, **WHO))

    def test_a_cancelled_one_is_closed_for_good(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2))
        fake.fail(claimed)
        fake.write(lambda tx: dead_letters.cancel(tx, claimed.job_id, **WHO))
        with pytest.raises(StateConflict) as refused:
            self.replay(fake, claimed.job_id)
        assert refused.value.found == DeadLetterStatus.CANCELLED
        assert fake.workflow(claimed.workflow_id).status == WorkflowStatus.FAILED

    def test_a_workflow_goes_on_when_its_last_dead_job_is_replayed(self, fake: FakeWorker) -> None:
        one, two = [
            fake.take(dispatch) for dispatch in fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
        ]
        fake.fail(one)
        fake.fail(two)
        self.replay(fake, one.job_id)
        workflow = fake.workflow(one.workflow_id)
        assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.FAILED, two.job_id)
        self.replay(fake, two.job_id)
        workflow = fake.workflow(one.workflow_id)
        assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.RUNNING, None)

    def test_a_replayed_job_has_as_many_attempts_as_a_new_one(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(fail.s("x")).dispatches
        for attempt in (1, 2, 3):
            claimed = fake.take(dispatch)
            assert (claimed.attempt, claimed.max_attempts, claimed.attempts_before) == (
                attempt,
                attempt,
                attempt - 1,
            )
            fake.fail(claimed)
            self.replay(fake, dispatch.job_id)
            (dispatch,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))


class TestStarts:
    @pytest.mark.parametrize("canvas", [add.s(1, 2), add.s(1, 2) | echo.s()], ids=["one job", "several"])
    def test_one_that_is_tried_again_is_the_same_workflow(
        self, agentq: AgentQ, canvas: Signature, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("write", "write_statement"):
            monkeypatch.setattr(agentq.ledger, name, _twice(getattr(agentq.ledger, name)))
        workflow = agentq.start(canvas)
        assert workflow.is_new
        monkeypatch.undo()
        assert operations.count(agentq.ledger, operations.WorkflowFilter()) == 1


def _twice(write: Callable[..., Any]) -> Callable[..., Any]:
    """Write as when the first commit's reply is lost."""

    def write_twice(work: Any, **options: Any) -> Any:
        write(work, **options)
        return write(work, **options)

    return write_twice


def test_a_writer_on_sqlite_has_the_lock_from_its_beginning(ledger: Ledger) -> None:
    if ledger.is_postgresql:
        pytest.skip("only SQLite has one lock")
    with closing(sqlite3.connect(str(ledger.url.database), isolation_level=None, timeout=0)) as other:

        def write(_: object) -> None:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")

        ledger.write(write)
        other.execute("BEGIN IMMEDIATE")


def test_a_fork_waits_for_a_transaction_on_sqlite(ledger: Ledger) -> None:
    if ledger.is_postgresql:
        pytest.skip("only SQLite's locks are inherited")
    begun, forked, release = (threading.Event() for _ in range(3))

    def hold_open(_: object) -> None:
        begun.set()
        release.wait(30)

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        forked.set()

    writer = threading.Thread(target=ledger.write, args=[hold_open])
    forker = threading.Thread(target=fork)
    writer.start()
    try:
        assert begun.wait(10)
        forker.start()
        assert not forked.wait(0.5), "it forked while another thread held a lock"
    finally:
        release.set()
        writer.join()
    assert forked.wait(10)
    forker.join()


class TestCaretaker:
    """Jobs that only one of the duties puts right."""

    @staticmethod
    def work(agentq: AgentQ, lease: Lease, until: Callable[[], Any]) -> None:
        duties = Duties(agentq, lease, Reserved(None), lambda: True)

        def looked() -> Any:
            duties.do_due()
            return until()

        eventually(looked, what="a duty that is done")

    def test_the_caretaker_dispatches_due_jobs(
        self, agentq: AgentQ, lease: Lease, dispatched: list[Any], fake: FakeWorker, queue: str
    ) -> None:
        started = fake.start(add.s(1, 2).set(countdown=60, queue=queue))
        fake.age(fake.jobs(started.workflow_id)[0].id, due_at=1)
        self.work(agentq, lease, lambda: dispatched)
        assert dispatched[0] == (add.name, JobStatus.QUEUED)

    def test_the_caretaker_redispatches_jobs_with_lost_messages(
        self, agentq: AgentQ, lease: Lease, dispatched: list[Any], fake: FakeWorker, queue: str
    ) -> None:
        (dispatch,) = fake.start(add.s(1, 2).set(queue=queue)).dispatches
        fake.age(dispatch.job_id, dispatched_at=60)
        self.work(agentq, lease, lambda: dispatched)
        assert dispatched[0] == (add.name, JobStatus.QUEUED)

    @pytest.fixture
    def settled(self, agentq: AgentQ, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> Duties:
        """The duties of a worker that is no longer new: it may rescue jobs."""
        clock = Clock()
        monkeypatch.setattr(duties_module, "time", clock)
        duties = Duties(agentq, lease, Reserved(None), lambda: True)
        clock.put_forward(2.1)
        return duties

    def test_the_caretaker_rescues_jobs_of_a_dead_worker(self, settled: Duties, fake: FakeWorker) -> None:
        claimed = FakeWorker(fake.ledger, lease=-1).begin(add.s(1, 2))
        settled.do_due()
        assert fake.history(claimed.job_id) == [(1, "lost")]

    def test_a_worker_whose_own_lease_is_over_rescues_no_job(
        self, settled: Duties, lease: Lease, fake: FakeWorker
    ) -> None:
        claimed = FakeWorker(fake.ledger, lease=-1).begin(add.s(1, 2))
        lease.renewed(time.monotonic() - 600)
        settled.rescue_lost()
        assert fake.history(claimed.job_id) == []
        lease.renewed(time.monotonic() + 600)
        settled.rescue_lost()
        assert fake.history(claimed.job_id) == [(1, "lost")]

    def test_a_rescue_that_waited_through_an_outage_takes_no_job(
        self, agentq: AgentQ, settled: Duties, fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        claimed = FakeWorker(fake.ledger, lease=-1).begin(add.s(1, 2))
        write, tried = agentq.ledger.write, []

        def write_after_an_outage(work: Callable[[Transaction], Any]) -> Any:
            settled.settle()
            tried.append(work)
            return write(work)

        monkeypatch.setattr(agentq.ledger, "write", write_after_an_outage)
        settled.rescue_lost()
        assert tried
        assert fake.history(claimed.job_id) == []

    def test_the_caretaker_rescues_jobs_without_a_process(
        self, agentq: AgentQ, lease: Lease, fake: FakeWorker
    ) -> None:
        fake.worker_id = lease.worker_id
        fake.renew(600)
        claimed = fake.begin(add.s(1, 2))
        self.work(agentq, lease, lambda: fake.history(claimed.job_id))
        assert fake.history(claimed.job_id) == [(1, "lost")]

    def test_the_caretaker_fails_overdue_jobs(self, agentq: AgentQ, lease: Lease, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2))
        fake.age(claimed.job_id, deadline_at=1)
        self.work(agentq, lease, lambda: fake.history(claimed.job_id))
        assert fake.job(claimed.job_id).error_category == "deadline_exceeded"

    def test_the_caretaker_announces_dead_letters(
        self, agentq: AgentQ, lease: Lease, dispatched: list[Any], fake: FakeWorker
    ) -> None:
        fake.fail(fake.begin(add.s(1, 2)))
        self.work(agentq, lease, lambda: dispatched)
        assert dispatched == [(DEAD_LETTER, None)]

    def test_a_worker_that_ends_gives_back_what_it_has(self, agentq: AgentQ, fake: FakeWorker) -> None:
        caretaker = Caretaker(agentq, SimpleNamespace(hostname="one"))
        assert caretaker.renew()
        fake.worker_id = caretaker.worker_id
        claimed = fake.begin(add.s(1, 2))
        caretaker.end()
        assert fake.job(claimed.job_id).status == JobStatus.QUEUED
        assert fake.history(claimed.job_id) == [(1, "released")]
