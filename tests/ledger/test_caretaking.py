"""Cancel, rescue, release, expiry and lost messages on every ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery import Signature, group
from sqlalchemy import select

from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.ledger import cancels, workers
from agentq.ledger.caretaking import due_jobs, expiry, losses, redelivery, rescues
from agentq.ledger.caretaking.rescues import Held, Lost
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ActionRow
from agentq.ledger.moves import Overtaken
from agentq.ledger.records import Bell
from agentq.outcomes import Failure, RetryLater
from agentq.states import JobStatus, WorkflowStatus
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, Recorded, Written, judged, written
from tests.support.steps import add, echo, fail, total


def cancel(player: Player, held_or_started: object) -> bool:
    workflow_id = held_or_started.workflow_id  # type: ignore[attr-defined]
    return player.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="too dear"))


def rescue(player: Player, pause: float = 0, most: int = 100) -> Written[list[Lost]]:
    return player.ledger.write(written(lambda tx: rescues.rescue_lost(tx, judged(pause), most)))


class TestCancel:
    def test_ends_the_workflow_and_all_jobs_that_are_not_done(self, player: Player) -> None:
        started = player.start(group(add.s(1, 2), echo.s().set(countdown=60), add.s(3, 4)) | total.s())
        done, running = started.bells
        player.succeed(player.take(done), 3)
        player.take(running)
        assert cancel(player, started)
        workflow = player.workflow(started.workflow_id)
        assert (workflow.status, workflow.reason) == (WorkflowStatus.CANCELLED, "too dear")
        statuses = sorted(job.status for job in player.jobs(started.workflow_id))
        assert statuses == [JobStatus.CANCELLED] * 4 + [JobStatus.SUCCEEDED]
        assert player.history(done.job_id) == [(1, "succeeded")]
        assert player.history(running.job_id) == [(1, "cancelled")]
        with pytest.raises(WorkflowCancelled, match="too dear"):
            player.result(started.workflow_id)

    @covers(Fault.FREEZE, Moment.CANCEL)
    def test_takes_the_job_from_the_worker_that_runs_it(self, player: Player) -> None:
        held = player.begin(add.s(1, 2) | echo.s())
        cancel(player, held)
        for write in (player.succeed, player.retry, player.fail):
            assert write(held) == Recorded(False)
        job = player.job(held.job_id)
        assert (job.status, job.result) == (JobStatus.CANCELLED, None)
        assert player.history(held.job_id) == [(1, "cancelled")]

    def test_leaves_nothing_to_claim(self, player: Player) -> None:
        started = player.start(add.s(1, 2))
        cancel(player, started)
        assert player.claim(started.bells[0]) is None
        assert player.history(started.bells[0].job_id) == []

    def test_is_noted_once_with_who_and_why(self, player: Player) -> None:
        started = player.start(add.s(1, 2))
        assert (cancel(player, started), cancel(player, started)) == (True, False)
        query = select(ActionRow.action, ActionRow.actor, ActionRow.reason)
        actions = player.ledger.read(lambda c: c.execute(query).all())
        assert [tuple(action) for action in actions] == [("cancel", "ann", "too dear")]

    def test_comes_too_late_for_what_has_ended(self, player: Player) -> None:
        held = player.begin(add.s(1, 2))
        player.succeed(held, 3)
        assert not cancel(player, held)
        assert player.result(held.workflow_id) == 3

    def test_between_attempts_keeps_the_history(self, player: Player) -> None:
        held = player.begin(add.s(1, 2))
        player.retry(held, 60)
        cancel(player, held)
        assert player.history(held.job_id) == [(1, "retried")]


class TestRescue:
    @covers(Fault.KILL_WORKER, Moment.BODY)
    @covers(Fault.FREEZE, Moment.BODY, Moment.COMPLETION)
    def test_takes_jobs_from_a_worker_whose_lease_is_over(self, player: Player) -> None:
        dead = Player(player.ledger)
        lost, safe = dead.begin(add.s(1, 2)), player.begin(add.s(3, 4))
        assert rescue(player) == Written([])
        dead.renew(-0.01)
        rescued = rescue(player)
        assert [job.held for job in rescued.value] == [Held(lost.job_id, 1)]
        assert player.history(lost.job_id) == [(1, "lost")]
        assert dead.succeed(lost, 3) == Recorded(False)
        assert player.take(rescued.bells[0]).attempt == 2
        assert player.job(safe.job_id).attempt == 1
        assert rescue(player) == Written([])

    @covers(Fault.KILL_WORKER, Moment.BODY)
    def test_takes_jobs_from_a_worker_that_signed_off_or_was_never_there(self, player: Player) -> None:
        gone, unknown = Player(player.ledger), Player(player.ledger)
        player.write(lambda tx: workers.sign_off(tx, gone.worker_id))
        unknown.worker_id = type(unknown.worker_id)(int=1)
        held = {gone.begin(add.s(1, 2)).job_id, unknown.begin(add.s(3, 4)).job_id}
        assert {job.held.job_id for job in rescue(player).value} == held

    def test_waits_between_attempts_as_long_as_it_is_told(self, player: Player) -> None:
        dead = Player(player.ledger, lease=-1)
        held = dead.begin(add.s(1, 2))
        assert rescue(player, pause=60).bells == ()
        job = player.job(held.job_id)
        assert job.status == JobStatus.SCHEDULED
        assert 55 < (job.due_at - job.dispatched_at).total_seconds() < 65

    def test_is_told_what_the_start_kept_of_the_steps_or_that_it_kept_nothing(self, player: Player) -> None:
        player.renew(-1)
        kept = {player.take(*player.start(add.s(1, 2), terms=terms).bells).job_id: terms for terms in ("{}", None)}
        told = {}

        def judge(row: AnyRow, why: Failure) -> RetryLater:
            told[row.id] = row.terms
            return RetryLater(why, 0)

        player.write(lambda tx: rescues.rescue_lost(tx, judge, 10))
        assert told == kept

    def test_buries_a_job_that_has_no_attempt_left(self, player: Player) -> None:
        dead = Player(player.ledger, lease=-1)
        held = dead.begin(fail.s("x") | echo.si())
        rescued = rescue(player)
        assert ([job.held for job in rescued.value], rescued.bells) == ([Held(held.job_id, 1)], ())
        assert player.history(held.job_id) == [(1, "lost")]
        with pytest.raises(StepFailed) as failed:
            player.result(held.workflow_id)
        assert (failed.value.category, failed.value.attempts) == ("worker_lost", 1)

    @covers(Fault.KILL_WORKER, Moment.BODY)
    def test_a_step_that_kills_its_worker_each_time_is_buried_after_its_attempts(self, player: Player) -> None:
        dead = Player(player.ledger, lease=-1)
        (bell,) = player.start(add.s(1, 2)).bells
        most = player.job(bell.job_id).max_attempts
        for _ in range(most):
            dead.take(bell)
            rescue(player)
        assert player.claim(bell) is None
        assert player.history(bell.job_id) == [(number, "lost") for number in range(1, most + 1)]
        assert player.job(bell.job_id).status == JobStatus.FAILED

    def test_takes_no_more_at_once_than_asked(self, player: Player) -> None:
        dead = Player(player.ledger, lease=-1)
        for _ in range(5):
            dead.begin(add.s(1, 2))
        assert [len(rescue(player, most=2).value) for _ in range(4)] == [2, 2, 1, 0]

    @covers(Fault.KILL_CHILD, Moment.BODY)
    def test_of_a_living_workers_jobs_takes_only_those_it_does_not_run(self, player: Player) -> None:
        lost, running = player.begin(add.s(1, 2)), player.begin(add.s(3, 4))
        abandoned = dict.fromkeys([Held(lost.job_id, 1), Held(running.job_id, 7)], losses.WORKER_LOST)
        held = player.ledger.read(lambda c: rescues.held_by(c, player.worker_id))
        assert held == {Held(lost.job_id, 1), Held(running.job_id, 1)}
        rescued = player.write(lambda tx: rescues.rescue_abandoned(tx, player.worker_id, abandoned, judged(0)))
        assert [job.held for job in rescued] == [Held(lost.job_id, 1)]
        assert player.succeed(running, 7).accepted


class TestRelease:
    @covers(Fault.STOP, Moment.BODY)
    def test_gives_all_back_at_once_and_costs_no_attempt(self, player: Player) -> None:
        stopping = Player(player.ledger)
        held = [stopping.begin(fail.s("x")), stopping.begin(add.s(1, 2))]
        bells = player.dispatched_by(lambda tx: rescues.release_all(tx, stopping.worker_id))
        assert {bell.job_id for bell in bells} == {claim.job_id for claim in held}
        assert stopping.succeed(held[0]) == Recorded(False)
        for bell, claim in zip(sorted(bells, key=_job), sorted(held, key=_job), strict=True):
            again = player.take(bell)
            left_before = claim.max_attempts - claim.attempt
            assert (again.attempt, again.max_attempts - again.attempt) == (2, left_before)
            assert player.history(bell.job_id) == [(1, "released")]

    def test_of_nothing_is_nothing(self, player: Player) -> None:
        assert player.dispatched_by(lambda tx: rescues.release_all(tx, player.worker_id)) == []


def _job(item: object) -> str:
    return str(item.job_id)  # type: ignore[attr-defined]


class TestExpiry:
    @pytest.mark.parametrize("canvas", [add.s(1, 2), add.s(1, 2).set(countdown=60)], ids=["queued", "scheduled"])
    def test_cancels_what_did_not_run_in_time(self, player: Player, canvas: Signature) -> None:
        started = player.start(canvas.clone().set(expires=60) | echo.s())
        job = player.jobs(started.workflow_id)[0]
        assert player.write(lambda tx: expiry.expire(tx, 10)) == 0
        player.age(job.id, expires_at=0.01)
        assert player.write(lambda tx: expiry.expire(tx, 10)) == 1
        with pytest.raises(WorkflowCancelled, match=f"{add.name}' expired"):
            player.result(started.workflow_id)
        assert player.write(lambda tx: expiry.expire(tx, 10)) == 0

    def test_a_relative_expiry_counts_from_the_ledgers_clock(self, player: Player) -> None:
        for canvas in (add.s(1, 2).set(expires=60), add.s(1, 2).set(expires=60) | echo.s()):
            job = player.jobs(player.start(canvas).workflow_id)[0]
            assert timedelta(seconds=59) < job.expires_at - job.created_at < timedelta(seconds=61)

    def test_leaves_alone_what_runs_or_is_done(self, player: Player) -> None:
        running, done = (player.begin(add.s(1, 2).set(expires=60)) for _ in range(2))
        player.succeed(done, 3)
        for held in (running, done):
            player.age(held.job_id, expires_at=1)
        assert player.write(lambda tx: expiry.expire(tx, 10)) == 0
        assert player.succeed(running, 3).accepted


class TestLostMessages:
    def test_only_a_bell_that_rang_long_ago_is_suspect(self, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        player.start(add.s(1, 2).set(queue="other"))
        assert suspects(player, grace=5) == []
        player.age(bell.job_id, dispatched_at=6)
        assert suspects(player, grace=5) == ["celery"]

    def test_the_pause_doubles_with_each_ringing_up_to_a_bound(self, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        pauses = []
        for _ in range(9):
            pauses.append(next(age for age in (1, 2, 4, 8, 16) if self._suspect(player, bell, age + 0.5)))
            (again,) = ring_again(player)
            assert again.job_id == bell.job_id
            assert suspects(player, grace=1) == []
        assert pauses == [1, 2, 4, 8, 8, 8, 8, 8, 8]

    @staticmethod
    def _suspect(player: Player, bell: Bell, age: float) -> bool:
        player.age(bell.job_id, dispatched_at=age)
        return bool(suspects(player, grace=1))

    def test_a_job_that_was_claimed_meanwhile_is_not_rung_again(self, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        player.age(bell.job_id, dispatched_at=60)
        player.take(bell)
        assert ring_again(player) == []

    @covers(Fault.CONFLICT, Moment.SWEEP)
    @covers(Fault.LOSE_MESSAGE, Moment.SWEEP)
    def test_of_two_caretakers_one_rings(self, player: Player) -> None:
        (bell,) = player.start(add.s(1, 2)).bells
        player.age(bell.job_id, dispatched_at=60)
        assert [len(ring_again(player)) for _ in range(2)] == [1, 0]

    @covers(Fault.LOSE_MESSAGE, Moment.DISPATCH)
    def test_only_overtaken_jobs_of_that_priority_are_rung(self, player: Player) -> None:
        ages = {60: None, 20: None, 61: 3}
        bells = {age: player.start(add.s(1, age).set(priority=p)).bells[0] for age, p in ages.items()}
        for age, bell in bells.items():
            player.age(bell.job_id, dispatched_at=age)
        before = datetime.now(UTC) - timedelta(seconds=40)
        assert [bell.job_id for bell in ring_again(player, Overtaken(None, before))] == [bells[60].job_id]


def suspects(player: Player, grace: float) -> list[str]:
    return player.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, grace))


def ring_again(player: Player, overtaken: Overtaken | None = None) -> list[Bell]:
    return player.write(lambda tx: redelivery.ring_again(tx, "celery", 1.0, 10, overtaken))


class TestDue:
    def test_what_is_due_is_queued_oldest_first_and_once(self, player: Player) -> None:
        ids = [player.jobs(player.start(add.s(1, n).set(countdown=60)).workflow_id)[0].id for n in range(3)]
        for job_id, seconds in zip(ids, (1, 3, 2), strict=True):
            player.age(job_id, due_at=seconds)
        due = [player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 2)) for _ in range(3)]
        assert [{bell.job_id for bell in bells} for bells in due] == [{ids[1], ids[2]}, {ids[0]}, set()]

    def test_a_later_step_waits_its_delay_from_when_it_is_its_turn(self, player: Player) -> None:
        held = player.begin(add.s(1, 2) | echo.s().set(countdown=60))
        assert player.succeed(held, 3).bells == ()
        later = player.jobs(held.workflow_id)[1]
        assert later.status == JobStatus.SCHEDULED
        assert 55 < (later.due_at - later.dispatched_at).total_seconds() < 65
