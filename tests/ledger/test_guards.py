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
from agentq.runtime.attempt.attempt import Attempt
from agentq.runtime.attempt.lease import Lease, hold
from agentq.runtime.caretaker.caretaker import Caretaker
from agentq.runtime.caretaker.duties import Duties
from agentq.runtime.caretaker.reserved import InHand
from agentq.runtime.dispatch.message import DEAD_LETTER
from agentq.states import DeadLetterStatus, JobStatus, WorkflowStatus
from tests.support import Broker, client, eventually
from tests.support.player import FAILURE, Player
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
def rung(player: Player) -> Iterator[list[tuple[str, str | None]]]:
    """What is published: task and, for a bell, the status that others see of the job then."""
    seen: list[tuple[str, str | None]] = []

    def note(sender: str, headers: dict[str, Any], **_: Any) -> None:
        found = player.ledger.read(lambda c: attempts.status_of(c, uuid.UUID(headers["id"])))
        seen.append((sender, found.status if found else None))

    signals.before_task_publish.connect(note, weak=False)
    yield seen
    signals.before_task_publish.disconnect(note)


def run(agentq: AgentQ, job: Any) -> dict[str, Any]:
    """Do what the message of a job makes a worker do."""
    return Attempt(agentq, job.job_id, job.step).run()


class TestHandOver:
    @pytest.mark.parametrize("canvas", [FANS_OUT, numbers.s(2) | echo.s()], ids=["each", "step"])
    @pytest.mark.parametrize("outcome", [Succeed("[0, 1]"), RetryLater(FAILURE, 0), Fail(FAILURE)], ids=type)
    def test_an_outcome_and_what_follows_are_kept_together_or_not_at_all(
        self, player: Player, canvas: Signature, outcome: Outcome
    ) -> None:
        held = player.begin(canvas)
        before = player.jobs(held.workflow_id)
        with player.ledger.engine.connect() as connection, connection.begin() as transaction:
            assert attempts.record(Transaction(connection), held, outcome)
            transaction.rollback()
        assert (player.jobs(held.workflow_id), player.history(held.job_id)) == (before, [])
        assert player.workflow(held.workflow_id).status == WorkflowStatus.RUNNING
        assert player.run(*player.succeed(held, [0, 1]).bells)

    def test_what_became_ready_is_rung_for_after_the_commit(
        self, agentq: AgentQ, lease: Lease, rung: list[Any], player: Player
    ) -> None:
        (bell,) = player.start(FANS_OUT).bells
        run(agentq, bell)
        assert rung == [(add.name, JobStatus.QUEUED)] * 2

    def test_a_message_that_comes_again_rings_what_was_left_unrung(
        self, agentq: AgentQ, lease: Lease, rung: list[Any], player: Player
    ) -> None:
        (bell,) = player.start(add.s(1, 2) | echo.s()).bells
        (unrung,) = player.succeed(player.take(bell), 3).bells  # and this worker dies before it has rung
        player.age(unrung.job_id, dispatched_at=2)
        assert run(agentq, bell) == {"dropped": JobStatus.SUCCEEDED}
        assert rung == [(echo.name, JobStatus.QUEUED)]
        assert run(agentq, bell) == {"dropped": JobStatus.SUCCEEDED}
        assert len(rung) == 1, "copies of one message multiply the messages of what follows"


class TestAttempts:
    def test_a_worker_without_trust_claims_nothing_until_it_is_renewed(
        self, agentq: AgentQ, player: Player, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        lease = Lease.open(0.2)

        def renew(_: float) -> None:
            assert player.job(bell.job_id).attempt == 0
            lease.renewed(time.monotonic() + 600)

        monkeypatch.setattr(lease_module, "time", SimpleNamespace(sleep=renew, monotonic=time.monotonic))
        try:
            assert run(agentq, bell) == {"attempt": 1}
        finally:
            lease.close()

    def test_a_worker_without_trust_that_is_stopped_claims_nothing(self, agentq: AgentQ, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        lease = Lease.open(0.2)
        lease.note_ending()
        try:
            assert run(agentq, bell) == {"dropped": JobStatus.QUEUED}
            assert player.job(bell.job_id).attempt == 0
        finally:
            lease.close()

    def test_trust_ends_before_the_lease(self, lease: Lease) -> None:
        lease.renewed(time.monotonic())
        assert 0 < hold().trusted_for() < 0.95 * lease.seconds

    def test_a_step_that_ends_its_program_only_fails(self, agentq: AgentQ, lease: Lease, player: Player) -> None:
        (bell,) = player.start(leave.s()).bells
        with pytest.raises(AttemptFailed, match="enough"):
            run(agentq, bell)
        assert player.history(bell.job_id) == [(1, "failed")]

    def test_the_patience_with_a_message_begins_anew_with_each_attempt(self, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        for _ in range(3):
            player.age(bell.job_id, dispatched_at=60)
            assert player.write(lambda tx: redelivery.ring_again(tx, "celery", 1.0, 10))
        player.retry(player.take(bell))
        player.age(bell.job_id, dispatched_at=1.5)
        assert player.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, 1.0)) == ["celery"]


class TestDeadLetters:
    @staticmethod
    def replay(player: Player, job_id: uuid.UUID) -> None:
        player.write(lambda tx: dead_letters.replay(tx, job_id, **WHO))

    def test_one_that_was_given_up_is_closed_for_good(self, player: Player) -> None:
        held = player.begin(add.s(1, 2))
        player.fail(held)
        player.write(lambda tx: dead_letters.cancel(tx, held.job_id, **WHO))
        with pytest.raises(StateConflict) as refused:
            self.replay(player, held.job_id)
        assert refused.value.found == DeadLetterStatus.CANCELLED
        assert player.workflow(held.workflow_id).status == WorkflowStatus.FAILED

    def test_a_workflow_goes_on_when_its_last_dead_job_is_replayed(self, player: Player) -> None:
        one, two = [player.take(bell) for bell in player.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells]
        player.fail(one)
        player.fail(two)
        self.replay(player, one.job_id)
        workflow = player.workflow(one.workflow_id)
        assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.FAILED, two.job_id)
        self.replay(player, two.job_id)
        workflow = player.workflow(one.workflow_id)
        assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.RUNNING, None)

    def test_a_replayed_job_has_as_many_attempts_as_a_new_one(self, player: Player) -> None:
        (bell,) = player.start(fail.s("x")).bells
        for attempt in (1, 2, 3):
            held = player.take(bell)
            assert (held.attempt, held.max_attempts, held.attempts_before) == (attempt, attempt, attempt - 1)
            player.fail(held)
            self.replay(player, bell.job_id)
            (bell,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))


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
    """What only one of the duties puts right."""

    @staticmethod
    def work(agentq: AgentQ, lease: Lease, until: Callable[[], Any]) -> None:
        duties = Duties(agentq, lease, InHand(None), lambda: True)

        def looked() -> Any:
            duties.do_due()
            return until()

        eventually(looked, what="a duty that is done")

    def test_what_is_due_is_dispatched(
        self, agentq: AgentQ, lease: Lease, rung: list[Any], player: Player, queue: str
    ) -> None:
        started = player.start(add.s(1, 2).set(countdown=60, queue=queue))
        player.age(player.jobs(started.workflow_id)[0].id, due_at=1)
        self.work(agentq, lease, lambda: rung)
        assert rung[0] == (add.name, JobStatus.QUEUED)

    def test_what_a_message_was_lost_of_is_rung_again(
        self, agentq: AgentQ, lease: Lease, rung: list[Any], player: Player, queue: str
    ) -> None:
        (bell,) = player.start(add.s(1, 2).set(queue=queue)).bells
        player.age(bell.job_id, dispatched_at=60)
        self.work(agentq, lease, lambda: rung)
        assert rung[0] == (add.name, JobStatus.QUEUED)

    def test_what_a_dead_worker_ran_is_rescued(self, agentq: AgentQ, lease: Lease, player: Player) -> None:
        held = Player(player.ledger, lease=-1).begin(add.s(1, 2))
        self.work(agentq, lease, lambda: player.history(held.job_id))
        assert player.history(held.job_id) == [(1, "lost")]

    def test_what_no_process_of_this_worker_runs_is_rescued(
        self, agentq: AgentQ, lease: Lease, player: Player
    ) -> None:
        player.worker_id = lease.worker_id
        player.renew(600)
        held = player.begin(add.s(1, 2))
        self.work(agentq, lease, lambda: player.history(held.job_id))
        assert player.history(held.job_id) == [(1, "lost")]

    def test_what_is_overdue_is_failed(self, agentq: AgentQ, lease: Lease, player: Player) -> None:
        held = player.begin(add.s(1, 2))
        player.age(held.job_id, deadline_at=1)
        self.work(agentq, lease, lambda: player.history(held.job_id))
        assert player.job(held.job_id).error_category == "deadline_exceeded"

    def test_what_is_dead_is_told(self, agentq: AgentQ, lease: Lease, rung: list[Any], player: Player) -> None:
        player.fail(player.begin(add.s(1, 2)))
        self.work(agentq, lease, lambda: rung)
        assert rung == [(DEAD_LETTER, None)]

    def test_a_worker_that_ends_gives_back_what_it_has(self, agentq: AgentQ, player: Player) -> None:
        caretaker = Caretaker(agentq, SimpleNamespace(hostname="one"))
        assert caretaker.renew()
        player.worker_id = caretaker.worker_id
        held = player.begin(add.s(1, 2))
        caretaker.end()
        assert player.job(held.job_id).status == JobStatus.QUEUED
        assert player.history(held.job_id) == [(1, "released")]
