"""Cancel, rescue, release, expiry and lost messages on every ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery import Signature, group
from sqlalchemy import select

from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.ledger import cancels, losses, workers
from agentq.ledger.caretaking import due_jobs, expiry, redelivery, rescues
from agentq.ledger.caretaking.rescues import Lost, RunningAttempt
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ActionRow
from agentq.ledger.moves import Overtaken
from agentq.ledger.records import Dispatch
from agentq.outcomes import Failure, RetryLater
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker, Recorded, Written, decided, written
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, fail, total


def cancel(fake: FakeWorker, held_or_started: object) -> bool:
    workflow_id = held_or_started.workflow_id  # type: ignore[attr-defined]
    return fake.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="too dear"))


def rescue(fake: FakeWorker, pause: float = 0, most: int = 100) -> Written[list[Lost]]:
    return fake.ledger.write(written(lambda tx: rescues.rescue_lost(tx, decided(pause), most)))


class TestCancel:
    def test_ends_the_workflow_and_all_jobs_that_are_not_done(self, fake: FakeWorker) -> None:
        started = fake.start(group(add.s(1, 2), echo.s().set(countdown=60), add.s(3, 4)) | total.s())
        done, running = started.dispatches
        fake.succeed(fake.take(done), 3)
        fake.take(running)
        assert cancel(fake, started)
        workflow = fake.workflow(started.workflow_id)
        assert (workflow.status, workflow.reason) == (WorkflowStatus.CANCELLED, "too dear")
        statuses = sorted(job.status for job in fake.jobs(started.workflow_id))
        assert statuses == [JobStatus.CANCELLED] * 4 + [JobStatus.SUCCEEDED]
        assert fake.history(done.job_id) == [(1, "succeeded")]
        assert fake.history(running.job_id) == [(1, "cancelled")]
        with pytest.raises(WorkflowCancelled, match="too dear"):
            fake.result(started.workflow_id)

    @covers(Fault.FREEZE, Phase.CANCEL)
    def test_takes_the_job_from_the_worker_that_runs_it(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2) | echo.s())
        cancel(fake, claimed)
        for write in (fake.succeed, fake.retry, fake.fail):
            assert write(claimed) == Recorded(False)
        job = fake.job(claimed.job_id)
        assert (job.status, job.result) == (JobStatus.CANCELLED, None)
        assert fake.history(claimed.job_id) == [(1, "cancelled")]

    def test_leaves_nothing_to_claim(self, fake: FakeWorker) -> None:
        started = fake.start(add.s(1, 2))
        cancel(fake, started)
        assert fake.claim(started.dispatches[0]) is None
        assert fake.history(started.dispatches[0].job_id) == []

    def test_is_noted_once_with_actor_and_reason(self, fake: FakeWorker) -> None:
        started = fake.start(add.s(1, 2))
        assert (cancel(fake, started), cancel(fake, started)) == (True, False)
        query = select(ActionRow.action, ActionRow.actor, ActionRow.reason)
        actions = fake.ledger.read(lambda c: c.execute(query).all())
        assert [tuple(action) for action in actions] == [("cancel", "ann", "too dear")]

    def test_comes_too_late_for_what_has_ended(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2))
        fake.succeed(claimed, 3)
        assert not cancel(fake, claimed)
        assert fake.result(claimed.workflow_id) == 3

    def test_between_attempts_keeps_the_history(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2))
        fake.retry(claimed, 60)
        cancel(fake, claimed)
        assert fake.history(claimed.job_id) == [(1, "retried")]


class TestRescue:
    @covers(Fault.KILL_WORKER, Phase.BODY)
    @covers(Fault.FREEZE, Phase.BODY, Phase.COMPLETION)
    def test_takes_jobs_from_a_worker_whose_lease_is_over(self, fake: FakeWorker) -> None:
        dead = FakeWorker(fake.ledger)
        lost, safe = dead.begin(add.s(1, 2)), fake.begin(add.s(3, 4))
        assert rescue(fake) == Written([])
        dead.renew(-0.01)
        rescued = rescue(fake)
        assert [job.attempt for job in rescued.value] == [RunningAttempt(lost.job_id, 1)]
        assert fake.history(lost.job_id) == [(1, "lost")]
        assert dead.succeed(lost, 3) == Recorded(False)
        assert fake.take(rescued.dispatches[0]).attempt == 2
        assert fake.job(safe.job_id).attempt == 1
        assert rescue(fake) == Written([])

    @covers(Fault.KILL_WORKER, Phase.BODY)
    def test_takes_jobs_from_a_worker_that_signed_off_or_was_never_there(self, fake: FakeWorker) -> None:
        gone, unknown = FakeWorker(fake.ledger), FakeWorker(fake.ledger)
        fake.write(lambda tx: workers.sign_off(tx, gone.worker_id))
        unknown.worker_id = type(unknown.worker_id)(int=1)
        claimed = {gone.begin(add.s(1, 2)).job_id, unknown.begin(add.s(3, 4)).job_id}
        assert {job.attempt.job_id for job in rescue(fake).value} == claimed

    def test_waits_the_policys_pause_between_attempts(self, fake: FakeWorker) -> None:
        dead = FakeWorker(fake.ledger, lease=-1)
        claimed = dead.begin(add.s(1, 2))
        assert rescue(fake, pause=60).dispatches == ()
        job = fake.job(claimed.job_id)
        assert job.status == JobStatus.SCHEDULED
        assert 55 < (job.due_at - job.dispatched_at).total_seconds() < 65

    def test_decides_by_the_stored_terms_of_the_start(self, fake: FakeWorker) -> None:
        fake.renew(-1)
        kept = {
            fake.take(*fake.start(add.s(1, 2), terms=terms).dispatches).job_id: terms for terms in ("{}", None)
        }
        seen = {}

        def decide(row: AnyRow, why: Failure) -> RetryLater:
            seen[row.id] = row.terms
            return RetryLater(why, 0)

        fake.write(lambda tx: rescues.rescue_lost(tx, decide, 10))
        assert seen == kept

    def test_makes_a_dead_letter_of_a_job_without_attempts_left(self, fake: FakeWorker) -> None:
        dead = FakeWorker(fake.ledger, lease=-1)
        claimed = dead.begin(fail.s("x") | echo.si())
        rescued = rescue(fake)
        assert ([job.attempt for job in rescued.value], rescued.dispatches) == (
            [RunningAttempt(claimed.job_id, 1)],
            (),
        )
        assert fake.history(claimed.job_id) == [(1, "lost")]
        with pytest.raises(StepFailed) as failed:
            fake.result(claimed.workflow_id)
        assert (failed.value.category, failed.value.attempts) == ("worker_lost", 1)

    @covers(Fault.KILL_WORKER, Phase.BODY)
    def test_a_step_that_kills_its_worker_is_a_dead_letter_after_its_attempts(self, fake: FakeWorker) -> None:
        dead = FakeWorker(fake.ledger, lease=-1)
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        most = fake.job(dispatch.job_id).max_attempts
        for _ in range(most):
            dead.take(dispatch)
            rescue(fake)
        assert fake.claim(dispatch) is None
        assert fake.history(dispatch.job_id) == [(number, "lost") for number in range(1, most + 1)]
        assert fake.job(dispatch.job_id).status == JobStatus.FAILED

    def test_takes_no_more_at_once_than_asked(self, fake: FakeWorker) -> None:
        dead = FakeWorker(fake.ledger, lease=-1)
        for _ in range(5):
            dead.begin(add.s(1, 2))
        assert [len(rescue(fake, most=2).value) for _ in range(4)] == [2, 2, 1, 0]

    @covers(Fault.KILL_CHILD, Phase.BODY)
    def test_takes_from_a_live_worker_only_jobs_it_does_not_run(self, fake: FakeWorker) -> None:
        lost, running = fake.begin(add.s(1, 2)), fake.begin(add.s(3, 4))
        abandoned = dict.fromkeys(
            [RunningAttempt(lost.job_id, 1), RunningAttempt(running.job_id, 7)], losses.WORKER_LOST
        )
        claimed = fake.ledger.read(lambda c: rescues.running_on(c, fake.worker_id))
        assert claimed == {RunningAttempt(lost.job_id, 1), RunningAttempt(running.job_id, 1)}
        rescued = fake.write(lambda tx: rescues.rescue_abandoned(tx, fake.worker_id, abandoned, decided(0)))
        assert [job.attempt for job in rescued] == [RunningAttempt(lost.job_id, 1)]
        assert fake.succeed(running, 7).accepted


class TestRelease:
    @covers(Fault.STOP, Phase.BODY)
    def test_gives_all_back_at_once_and_costs_no_attempt(self, fake: FakeWorker) -> None:
        stopping = FakeWorker(fake.ledger)
        claimed = [stopping.begin(fail.s("x")), stopping.begin(add.s(1, 2))]
        dispatches = fake.dispatched_by(lambda tx: rescues.release_all(tx, stopping.worker_id))
        assert {dispatch.job_id for dispatch in dispatches} == {claim.job_id for claim in claimed}
        assert stopping.succeed(claimed[0]) == Recorded(False)
        for dispatch, claim in zip(sorted(dispatches, key=_job), sorted(claimed, key=_job), strict=True):
            again = fake.take(dispatch)
            left_before = claim.max_attempts - claim.attempt
            assert (again.attempt, again.max_attempts - again.attempt) == (2, left_before)
            assert fake.history(dispatch.job_id) == [(1, "released")]

    def test_rescue_without_lost_jobs_changes_nothing(self, fake: FakeWorker) -> None:
        assert fake.dispatched_by(lambda tx: rescues.release_all(tx, fake.worker_id)) == []


def _job(item: object) -> str:
    return str(item.job_id)  # type: ignore[attr-defined]


class TestExpiry:
    @pytest.mark.parametrize("canvas", [add.s(1, 2), add.s(1, 2).set(countdown=60)], ids=["queued", "scheduled"])
    def test_cancels_what_did_not_run_in_time(self, fake: FakeWorker, canvas: Signature) -> None:
        started = fake.start(canvas.clone().set(expires=60) | echo.s())
        job = fake.jobs(started.workflow_id)[0]
        assert fake.write(lambda tx: expiry.expire(tx, 10)) == 0
        fake.age(job.id, expires_at=0.01)
        assert fake.write(lambda tx: expiry.expire(tx, 10)) == 1
        with pytest.raises(WorkflowCancelled, match=f"{add.name}' expired"):
            fake.result(started.workflow_id)
        assert fake.write(lambda tx: expiry.expire(tx, 10)) == 0

    def test_a_relative_expiry_counts_from_the_ledgers_clock(self, fake: FakeWorker) -> None:
        for canvas in (add.s(1, 2).set(expires=60), add.s(1, 2).set(expires=60) | echo.s()):
            job = fake.jobs(fake.start(canvas).workflow_id)[0]
            assert timedelta(seconds=59) < job.expires_at - job.created_at < timedelta(seconds=61)

    def test_leaves_alone_what_runs_or_is_done(self, fake: FakeWorker) -> None:
        running, done = (fake.begin(add.s(1, 2).set(expires=60)) for _ in range(2))
        fake.succeed(done, 3)
        for claimed in (running, done):
            fake.age(claimed.job_id, expires_at=1)
        assert fake.write(lambda tx: expiry.expire(tx, 10)) == 0
        assert fake.succeed(running, 3).accepted


class TestLostMessages:
    def test_only_a_job_dispatched_long_ago_is_redispatched(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        fake.start(add.s(1, 2).set(queue="other"))
        assert suspects(fake, grace=5) == []
        fake.age(dispatch.job_id, dispatched_at=6)
        assert suspects(fake, grace=5) == ["celery"]

    def test_the_pause_doubles_with_each_redispatch_up_to_a_bound(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        pauses = []
        for _ in range(9):
            pauses.append(next(age for age in (1, 2, 4, 8, 16) if self._suspect(fake, dispatch, age + 0.5)))
            (again,) = redispatch(fake)
            assert again.job_id == dispatch.job_id
            assert suspects(fake, grace=1) == []
        assert pauses == [1, 2, 4, 8, 8, 8, 8, 8, 8]

    @staticmethod
    def _suspect(fake: FakeWorker, dispatch: Dispatch, age: float) -> bool:
        fake.age(dispatch.job_id, dispatched_at=age)
        return bool(suspects(fake, grace=1))

    def test_a_job_claimed_in_between_is_not_redispatched(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        fake.age(dispatch.job_id, dispatched_at=60)
        fake.take(dispatch)
        assert redispatch(fake) == []

    @covers(Fault.CONFLICT, Phase.SWEEP)
    @covers(Fault.LOSE_MESSAGE, Phase.SWEEP)
    def test_one_of_two_caretakers_redispatches(self, fake: FakeWorker) -> None:
        (dispatch,) = fake.start(add.s(1, 2)).dispatches
        fake.age(dispatch.job_id, dispatched_at=60)
        assert [len(redispatch(fake)) for _ in range(2)] == [1, 0]

    @covers(Fault.LOSE_MESSAGE, Phase.DISPATCH)
    def test_only_overtaken_jobs_of_that_priority_are_redispatched(self, fake: FakeWorker) -> None:
        ages = {60: None, 20: None, 61: 3}
        dispatches = {age: fake.start(add.s(1, age).set(priority=p)).dispatches[0] for age, p in ages.items()}
        for age, dispatch in dispatches.items():
            fake.age(dispatch.job_id, dispatched_at=age)
        before = datetime.now(UTC) - timedelta(seconds=40)
        assert [dispatch.job_id for dispatch in redispatch(fake, Overtaken(None, before))] == [
            dispatches[60].job_id
        ]


def suspects(fake: FakeWorker, grace: float) -> list[str]:
    return fake.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, grace))


def redispatch(fake: FakeWorker, overtaken: Overtaken | None = None) -> list[Dispatch]:
    return fake.write(lambda tx: redelivery.redispatch(tx, "celery", 1.0, 10, overtaken))


class TestDue:
    def test_due_jobs_are_queued_oldest_first_and_once(self, fake: FakeWorker) -> None:
        ids = [fake.jobs(fake.start(add.s(1, n).set(countdown=60)).workflow_id)[0].id for n in range(3)]
        for job_id, seconds in zip(ids, (1, 3, 2), strict=True):
            fake.age(job_id, due_at=seconds)
        due = [fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 2)) for _ in range(3)]
        assert [{dispatch.job_id for dispatch in dispatches} for dispatches in due] == [
            {ids[1], ids[2]},
            {ids[0]},
            set(),
        ]

    def test_a_later_step_waits_its_delay_from_when_it_is_its_turn(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 2) | echo.s().set(countdown=60))
        assert fake.succeed(claimed, 3).dispatches == ()
        later = fake.jobs(claimed.workflow_id)[1]
        assert later.status == JobStatus.SCHEDULED
        assert 55 < (later.due_at - later.dispatched_at).total_seconds() < 65
