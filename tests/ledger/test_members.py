"""The effect of a failed job on its workflow: stops it, fails it whole, or drops a member of a fan-in."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Signature, group
from sqlalchemy import select

from agentq import each
from agentq.exceptions import StateConflict, StepFailed
from agentq.ledger import cancels, dead_letters
from agentq.ledger.caretaking import due_jobs, expiry, redelivery, rescues
from agentq.ledger.models import DeadLetterRow
from agentq.ledger.records import Claim, Dispatch
from agentq.ledger.results import missing_members
from agentq.outcomes import Cancelled
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus
from tests.support.fake_worker import FAILURE, FakeWorker, Written, decided, written
from tests.support.steps import add, echo, numbers, total

WHO: dict[str, Any] = {"actor": "ann", "reason": "known"}
THREE = [add.s(1, 1), add.s(2, 2), add.s(3, 3)]


def begin(fake: FakeWorker, canvas: Signature) -> list[Claim]:
    return [fake.take(dispatch) for dispatch in fake.start(canvas).dispatches]


def lose(fake: FakeWorker, *lost: Claim) -> list[Dispatch]:
    """Fail jobs for good; returns the messages of what went on without the last one."""
    dispatches: tuple[Dispatch, ...] = ()
    for claimed in lost:
        dispatches = fake.fail(claimed).dispatches
    return list(dispatches)


def letters(fake: FakeWorker, claimed: Claim) -> list[Any]:
    """The open dead letters of the workflow."""
    wanted = (DeadLetterRow.workflow_id == claimed.workflow_id, DeadLetterRow.status == "open")
    query = select(DeadLetterRow.__table__).where(*wanted).order_by(DeadLetterRow.id)
    return fake.ledger.read(lambda c: list(c.execute(query)))


def status(fake: FakeWorker, claimed: Claim) -> str:
    return str(fake.workflow(claimed.workflow_id).status)


class TestNeeds:
    @pytest.mark.parametrize(
        ("needs", "failures", "goes_on"),
        [
            ("any", 2, True),
            ("any", 3, False),
            (2, 1, True),
            (2, 2, False),
            (0, 3, True),
            (0.5, 1, True),
            (0.5, 2, False),
            (0.67, 1, False),
        ],
    )
    def test_a_fan_in_goes_on_with_what_it_needs_or_stops(
        self, fake: FakeWorker, needs: object, failures: int, goes_on: bool
    ) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=needs))
        lose(fake, *claimed[:failures])
        assert status(fake, claimed[0]) == (WorkflowStatus.FAILED if failures == 3 and not goes_on else "running")
        dispatches = (
            list(fake.succeed(claimed[-1], 6).dispatches) if failures < 3 else self._queued(fake, claimed[0])
        )
        for one in claimed[failures:-1]:
            dispatches = list(fake.succeed(one, 4).dispatches)
        assert bool(dispatches) is goes_on
        if goes_on:
            fake.run(*dispatches)
            assert status(fake, claimed[0]) == WorkflowStatus.SUCCEEDED
        else:
            with pytest.raises(StepFailed, match=rf"{failures} of its 3 members are missing, but it needs"):
                fake.result(claimed[0].workflow_id)

    @staticmethod
    def _queued(fake: FakeWorker, claimed: Claim) -> list[Dispatch]:
        found = fake.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, -1))
        return [b for q in found for b in fake.write(lambda tx, q=q: redelivery.redispatch(tx, q, -1, 10))]

    def test_the_body_sees_what_is_there_in_order_and_what_is_missing_and_why(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE) | echo.s().set(needs="any"))
        fake.succeed(claimed[2], 6)
        fake.fail(claimed[1])
        (dispatch,) = fake.succeed(claimed[0], 2).dispatches
        body = fake.take(dispatch)
        assert body.inputs == "[2,6]"
        (missing,) = fake.ledger.read(lambda c: missing_members(c, body.job_id))
        assert (missing.position, missing.job_id, missing.step) == (1, claimed[1].job_id, claimed[1].step)
        assert (missing.error_category, missing.error_message) == (FAILURE.category, FAILURE.message)
        fake.succeed(body)

    def test_a_failed_item_of_an_each_is_missing(self, fake: FakeWorker) -> None:
        first = fake.begin(numbers.s(3) | each(add.s(1) | add.s(10)) | total.s().set(needs=0.6))
        branches = [fake.take(dispatch) for dispatch in fake.succeed(first, [0, 1, 2]).dispatches]
        assert fake.fail(branches[1]).dispatches == ()
        ends = [fake.succeed(claimed, 1).dispatches[0] for claimed in (branches[0], branches[2])]
        fake.run(*ends)
        assert fake.result(first.workflow_id) == 22
        left = [job for job in fake.jobs(first.workflow_id) if job.status == JobStatus.CANCELLED]
        assert [job.after_id for job in left] == [branches[1].job_id], "what followed the lost item never runs"

    def test_two_failures_in_one_branch_are_one_missing_branch(self, fake: FakeWorker) -> None:
        branch = group(add.s(1, 1), add.s(2, 2)) | total.s()
        started = fake.start(group(branch, add.s(3, 3), add.s(4, 4)) | total.s().set(needs=1))
        claimed = [fake.take(dispatch) for dispatch in started.dispatches]
        assert lose(fake, claimed[0], claimed[1]) == []
        fake.succeed(claimed[2], 6)
        (dispatch,) = fake.succeed(claimed[3], 8).dispatches
        fake.run(dispatch)
        assert fake.result(started.workflow_id) == 14

    def test_an_inner_fan_in_that_failed_is_a_missing_member_of_the_outer(self, fake: FakeWorker) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = fake.start(group(inner, add.s(3, 3)) | total.s().set(needs="any"))
        claimed = [fake.take(dispatch) for dispatch in started.dispatches]
        fake.succeed(claimed[0], 2)
        fake.fail(claimed[1])
        (dispatch,) = fake.succeed(claimed[2], 6).dispatches
        fake.run(dispatch)
        assert fake.result(started.workflow_id) == 6

    def test_a_member_whose_worker_is_lost_is_missing_too(self, fake: FakeWorker) -> None:
        started = fake.start(group(THREE[:2]) | total.s().set(needs="any"))
        dead = FakeWorker(fake.ledger, lease=-1)
        dead.take(started.dispatches[0])
        decide = decided(0)
        fake.succeed(fake.take(started.dispatches[1]), 4)
        for _ in range(10):
            dispatches = fake.dispatched_by(lambda tx: rescues.rescue_lost(tx, decide, 10))
            if fake.job(started.dispatches[0].job_id).status == JobStatus.FAILED:
                break
            dead.take(dispatches[0])
        fake.run(*dispatches)
        assert fake.result(started.workflow_id) == 4


class TestWithin:
    def test_after_it_the_fan_in_goes_on_and_the_late_are_cancelled(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=1, within=60))
        join = fake.job(fake.job(claimed[0].job_id).join_id)
        assert join.deadline_at is None, "its time begins when the first part has ended"
        fake.succeed(claimed[0], 2)
        assert fake.job(join.id).deadline_at is not None
        fake.age(join.id, deadline_at=1)
        (ready,) = fake.dispatched_by(lambda tx: expiry.end_overdue(tx, 10))
        body = fake.take(ready)
        assert body.inputs == "[2]"
        missing = fake.ledger.read(lambda c: missing_members(c, body.job_id))
        assert [(part.position, part.error_category) for part in missing] == [
            (1, "deadline_exceeded"),
            (2, "deadline_exceeded"),
        ]
        assert not fake.succeed(claimed[1], 4).accepted
        assert fake.history(claimed[2].job_id) == [(1, AttemptOutcome.CANCELLED)]
        fake.succeed(body, 2)
        assert fake.result(claimed[0].workflow_id) == 2

    def test_too_little_by_then_is_a_dead_letter_of_the_fan_in(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=2, within=60))
        fake.succeed(claimed[0], 2)
        fake.age(fake.job(claimed[0].job_id).join_id, deadline_at=1)
        assert fake.dispatched_by(lambda tx: expiry.end_overdue(tx, 10)) == []
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        assert fake.write(lambda tx: expiry.end_overdue(tx, 10)) == 0
        (letter,) = letters(fake, claimed[0])
        assert (letter.job_id, letter.error_category) == (fake.job(claimed[0].job_id).join_id, "missing_members")
        assert letter.error_message == "2 of its 3 members are missing, but it needs 2"


class TestTime:
    def test_an_expired_member_is_dropped(self, fake: FakeWorker) -> None:
        started = fake.start(group(add.s(1, 1).set(expires=60), add.s(2, 2)) | total.s().set(needs="any"))
        fake.age(started.dispatches[0].job_id, expires_at=1)
        assert fake.write(lambda tx: expiry.expire(tx, 10)) == 1
        (dispatch,) = fake.succeed(fake.take(started.dispatches[1]), 4).dispatches
        body = fake.take(dispatch)
        (missing,) = fake.ledger.read(lambda c: missing_members(c, body.job_id))
        assert missing.error_message == f"step {add.name!r} expired before it ran"
        fake.succeed(body, 4)

    def test_a_member_past_its_deadline_is_dropped(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE[:2]) | total.s().set(needs="any"))
        fake.age(claimed[0].job_id, deadline_at=1)
        fake.succeed(claimed[1], 4)
        fake.run(*fake.dispatched_by(lambda tx: expiry.end_overdue(tx, 10)))
        assert fake.result(claimed[0].workflow_id) == 4

    def test_a_replayed_member_has_a_new_deadline(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=2, within=60))
        lose(fake, *claimed[:2])
        fake.succeed(claimed[2], 6)
        join = fake.job(fake.job(claimed[0].job_id).join_id)
        fake.age(join.id, deadline_at=1)
        fake.write(lambda tx: dead_letters.replay(tx, claimed[0].job_id, **WHO))
        assert fake.write(lambda tx: expiry.end_overdue(tx, 10)) == 0
        fake.run(*fake.succeed(fake.take(*fake.due()), 2).dispatches)
        assert fake.result(claimed[0].workflow_id) == 8


class TestOnFailure:
    def test_continue_drops_the_member_without_an_option_of_the_fan_in(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(add.s(1, 1).set(on_failure="continue"), add.s(2, 2)) | total.s())
        fake.fail(claimed[0])
        fake.run(*fake.succeed(claimed[1], 4).dispatches)
        assert fake.result(claimed[0].workflow_id) == 4

    def test_continue_goes_on_with_a_step_that_takes_nothing_from_it(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 1).set(on_failure="continue") | numbers.si(2))
        fake.run(*fake.fail(claimed).dispatches)
        assert fake.result(claimed.workflow_id) == [0, 1]

    @pytest.mark.parametrize("way", ["replay", "resolve"])
    def test_a_member_that_its_fan_in_went_on_without_cannot_be_replayed(self, fake: FakeWorker, way: str) -> None:
        claimed = fake.begin(add.s(1, 1).set(on_failure="continue") | numbers.si(2))
        dispatches = fake.fail(claimed).dispatches
        decide: dict[str, Any] = {
            "replay": lambda tx: dead_letters.replay(tx, claimed.job_id, **WHO),
            "resolve": lambda tx: dead_letters.resolve(tx, claimed.job_id, "2", **WHO),
        }
        with pytest.raises(StateConflict, match="has gone on without it"):
            fake.write(decide[way])
        fake.run(*dispatches)
        assert fake.result(claimed.workflow_id) == [0, 1]

    def test_continue_stops_where_nothing_could_go_on(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 1).set(on_failure="continue") | echo.s())
        fake.fail(claimed)
        assert status(fake, claimed) == WorkflowStatus.FAILED

    def test_stop_stops_also_where_the_fan_in_could_do_without(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(add.s(1, 1).set(on_failure="stop"), add.s(2, 2)) | total.s().set(needs="any"))
        fake.fail(claimed[0])
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED

    def test_fail_cancels_all_the_rest_at_once(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(add.s(1, 1).set(on_failure="fail"), add.s(2, 2)) | total.s())
        fake.fail(claimed[0])
        jobs = fake.jobs(claimed[0].workflow_id)
        assert [job.status for job in jobs] == ["failed", "cancelled", "cancelled", "cancelled"]
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        assert not fake.succeed(claimed[1], 4).accepted
        with pytest.raises(StateConflict, match="cancelled or failed as a whole"):
            fake.write(lambda tx: dead_letters.replay(tx, claimed[0].job_id, **WHO))


class TestReplay:
    def _replay(self, fake: FakeWorker, claimed: Claim) -> Claim:
        fake.write(lambda tx: dead_letters.replay(tx, claimed.job_id, **WHO))
        (dispatch,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
        return fake.take(dispatch)

    def test_brings_a_missing_member_back(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=1))
        fake.fail(claimed[0])
        again = self._replay(fake, claimed[0])
        fake.succeed(claimed[1], 4)
        assert fake.succeed(claimed[2], 6).dispatches == (), "it waits for the member again"
        fake.run(*fake.succeed(again, 2).dispatches)
        assert fake.result(claimed[0].workflow_id) == 12

    @pytest.mark.parametrize("way", ["replay", "resolve"])
    def test_lets_a_fan_in_with_missing_members_go_on(self, fake: FakeWorker, way: str) -> None:
        claimed = begin(fake, group(THREE) | total.s().set(needs=2))
        lose(fake, claimed[0], claimed[1])
        fake.succeed(claimed[2], 6)
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        if way == "resolve":
            dispatches = fake.dispatched_by(lambda tx: dead_letters.resolve(tx, claimed[0].job_id, "2", **WHO))
        else:
            again = self._replay(fake, claimed[0])
            assert status(fake, claimed[0]) == WorkflowStatus.RUNNING
            dispatches = list(fake.succeed(again, 2).dispatches)
        fake.run(*dispatches)
        assert fake.result(claimed[0].workflow_id) == 8

    def test_through_a_fan_in_that_was_missing_itself(self, fake: FakeWorker) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = fake.start(group(inner, add.s(3, 3)) | total.s().set(needs=1))
        claimed = [fake.take(dispatch) for dispatch in started.dispatches]
        fake.succeed(claimed[0], 2)
        fake.fail(claimed[1])
        again = self._replay(fake, claimed[1])
        assert fake.succeed(claimed[2], 6).dispatches == ()
        fake.run(*fake.succeed(again, 4).dispatches)
        assert fake.result(started.workflow_id) == 12

    def test_is_refused_once_the_fan_in_has_gone_on(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE[:2]) | total.s().set(needs="any"))
        fake.fail(claimed[0])
        fake.run(*fake.succeed(claimed[1], 4).dispatches)
        with pytest.raises(StateConflict, match="has gone on without it"):
            fake.write(lambda tx: dead_letters.replay(tx, claimed[0].job_id, **WHO))
        assert fake.job(claimed[0].job_id).status == JobStatus.FAILED


class TestMissingMembers:
    """A fan-in with too few members is a dead letter: run them again, go on without them, or cancel it."""

    def _late(self, fake: FakeWorker, canvas: Signature | None = None) -> tuple[list[Claim], Any]:
        """Two of three members are late, one of them in a retry's pause; returns the claims and the letter."""
        claimed = begin(fake, canvas or group(THREE) | total.s().set(needs=2, within=60))
        fake.succeed(claimed[0], 2)
        fake.retry(claimed[1], delay=600)
        fake.age(fake.job(claimed[0].job_id).join_id, deadline_at=1)
        fake.write(lambda tx: expiry.end_overdue(tx, 10))
        (letter,) = letters(fake, claimed[0])
        return claimed, letter

    def test_a_replay_runs_the_missing_members_again(self, fake: FakeWorker) -> None:
        claimed, letter = self._late(fake)
        fake.write(lambda tx: dead_letters.replay(tx, letter.job_id, **WHO))
        assert status(fake, claimed[0]) == WorkflowStatus.RUNNING
        again = [fake.take(dispatch) for dispatch in fake.due()]
        assert {one.job_id for one in again} == {claimed[1].job_id, claimed[2].job_id}
        assert fake.succeed(again[0], 4).dispatches == ()
        fake.run(*fake.succeed(again[1], 6).dispatches)
        assert fake.result(claimed[0].workflow_id) == 12

    def test_members_that_are_late_again_are_a_new_dead_letter(self, fake: FakeWorker) -> None:
        claimed, letter = self._late(fake)
        fake.write(lambda tx: dead_letters.replay(tx, letter.job_id, **WHO))
        again = [fake.take(dispatch) for dispatch in fake.due()]
        lose(fake, *again)
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        assert [one.job_id for one in letters(fake, claimed[0])] == [
            again[0].job_id,
            again[1].job_id,
            letter.job_id,
        ]

    def test_a_resolution_goes_on_with_what_is_there(self, fake: FakeWorker) -> None:
        claimed, letter = self._late(fake)
        dispatches = fake.dispatched_by(lambda tx: dead_letters.go_on(tx, letter.job_id, **WHO))
        fake.run(*dispatches)
        assert fake.result(claimed[0].workflow_id) == 2

    def test_a_cancelled_letter_keeps_the_workflow_failed(self, fake: FakeWorker) -> None:
        claimed, letter = self._late(fake)
        fake.write(lambda tx: dead_letters.cancel(tx, letter.job_id, **WHO))
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        assert letters(fake, claimed[0]) == []

    def test_a_replay_closes_the_letters_of_fan_in_and_members_together(self, fake: FakeWorker) -> None:
        for by_part in (False, True):
            claimed = begin(fake, group(THREE) | total.s().set(needs=2))
            lose(fake, claimed[0], claimed[1])
            fake.succeed(claimed[2], 6)
            part, _, fan_in = letters(fake, claimed[0])
            chosen = part if by_part else fan_in
            fake.write(lambda tx, chosen=chosen: dead_letters.replay(tx, chosen.job_id, **WHO))
            left = [one.job_id for one in letters(fake, claimed[0])]
            assert left == ([claimed[1].job_id] if by_part else [])
            for dispatch in fake.due():
                ended = fake.succeed(fake.take(dispatch), 1)
            fake.run(*ended.dispatches)
            assert fake.result(claimed[0].workflow_id) == (7 if by_part else 8)

    def test_a_replay_revives_all_jobs_of_the_members_and_unexpanded_ones(self, fake: FakeWorker) -> None:
        inner = numbers.s(2) | each(add.s(1) | group(echo.s(), echo.s()) | echo.si(1)) | echo.s().set(needs="any")
        canvas = group(add.s(1, 1), inner | group(echo.si(), echo.si()) | echo.si(5)) | echo.s().set(
            needs="all", within=60
        )
        for expanded in (False, True):
            claimed = begin(fake, canvas.clone())
            fake.succeed(claimed[0], 2)
            if expanded:
                first, _ = fake.succeed(claimed[1], [0, 1]).dispatches
                fake.succeed(fake.take(first), 1)
            join = fake.job(fake.job(claimed[0].job_id).join_id)
            fake.age(join.id, deadline_at=1)
            fake.write(lambda tx: expiry.end_overdue(tx, 10))
            fake.write(lambda tx, join=join: dead_letters.replay(tx, join.id, **WHO))
            fake.run(*fake.due())
            assert status(fake, claimed[0]) == WorkflowStatus.SUCCEEDED

    def test_an_inner_fan_in_with_missing_members_has_a_letter_too(self, fake: FakeWorker) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = fake.start(group(inner, add.s(3, 3)) | total.s().set(needs="all"))
        claimed = [fake.take(dispatch) for dispatch in started.dispatches]
        fake.succeed(claimed[0], 2)
        fake.fail(claimed[1])
        fake.succeed(claimed[2], 6)
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        (cause,) = [one for one in letters(fake, claimed[0]) if one.job_id == fake.job(claimed[0].job_id).join_id]
        fake.run(*fake.dispatched_by(lambda tx: dead_letters.go_on(tx, cause.job_id, **WHO)))
        assert fake.result(started.workflow_id) == 8

    def test_running_jobs_of_a_dropped_member_are_cancelled(self, fake: FakeWorker) -> None:
        pair = group(add.s(1, 1), add.s(2, 2)) | total.s()
        inner = group(pair, add.s(3, 3)) | total.s().set(needs=2)
        claimed = begin(fake, group(inner, add.s(4, 4)) | total.s().set(needs="any"))
        fake.fail(claimed[0])
        fake.succeed(claimed[2], 6)
        fake.run(*fake.succeed(claimed[3], 8).dispatches)
        assert fake.result(claimed[0].workflow_id) == 8
        assert fake.job(claimed[1].job_id).status == JobStatus.CANCELLED


class TestCancel:
    def test_a_cancelled_job_cancels_only_its_member(self, fake: FakeWorker) -> None:
        canvas = group(add.s(1, 1) | echo.s(), add.s(2, 2)) | total.s().set(needs="any")
        claimed = begin(fake, canvas)
        fake.succeed(claimed[1], 4)
        waiting = fake.jobs(claimed[0].workflow_id)[1]
        dispatches = fake.dispatched_by(lambda tx: cancels.cancel_job(tx, waiting.id, **WHO))
        assert not fake.succeed(claimed[0], 2).accepted
        fake.run(*dispatches)
        assert fake.result(claimed[0].workflow_id) == 4
        assert not fake.write(lambda tx: cancels.cancel_job(tx, waiting.id, **WHO))

    def test_a_job_that_all_needs_cancels_the_workflow(self, fake: FakeWorker) -> None:
        claimed = fake.begin(add.s(1, 1) | echo.s())
        job = fake.jobs(claimed.workflow_id)[1]
        cancelled = fake.ledger.write(written(lambda tx: cancels.cancel_job(tx, job.id, **WHO)))
        assert cancelled == Written(True)
        assert status(fake, claimed) == WorkflowStatus.CANCELLED
        assert not fake.succeed(claimed, 2).accepted

    def test_a_branch_of_a_stopped_workflow_is_cancelled_alone(self, fake: FakeWorker) -> None:
        claimed = begin(fake, group(THREE))
        fake.fail(claimed[0])
        cancelled = fake.ledger.write(written(lambda tx: cancels.cancel_job(tx, claimed[1].job_id, **WHO)))
        assert cancelled == Written(True)
        assert [job.status for job in fake.jobs(claimed[0].workflow_id)] == [
            "failed",
            "cancelled",
            "running",
            "waiting",
        ]
        fake.succeed(claimed[2], 6)
        with pytest.raises(StateConflict, match="was cancelled"):
            fake.write(lambda tx: dead_letters.replay(tx, claimed[0].job_id, **WHO))

    def test_a_member_that_stopped_its_workflow_can_be_dropped(self, fake: FakeWorker) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2) | echo.s()
        outer = group(inner, add.s(3, 3).set(on_failure="continue")) | total.s()
        started = fake.start(outer)
        claimed = [fake.take(dispatch) for dispatch in started.dispatches]
        fake.fail(claimed[0])
        fake.succeed(claimed[1], 4)
        assert status(fake, claimed[0]) == WorkflowStatus.FAILED
        behind = next(job for job in fake.jobs(started.workflow_id) if job.step == total.name)
        fake.write(lambda tx: cancels.cancel_job(tx, behind.id, **WHO))
        assert status(fake, claimed[0]) == WorkflowStatus.RUNNING
        fake.run(*fake.succeed(claimed[2], 6).dispatches)
        assert fake.result(started.workflow_id) == 6

    @pytest.mark.parametrize(
        ("canvas", "ends"),
        [
            (group(THREE[:2]) | total.s().set(needs="any"), WorkflowStatus.RUNNING),
            (group(THREE[:2]) | total.s(), WorkflowStatus.CANCELLED),
        ],
        ids=["of a part", "of the whole"],
    )
    def test_a_step_cancels_itself(self, fake: FakeWorker, canvas: Signature, ends: WorkflowStatus) -> None:
        claimed = begin(fake, canvas)
        recorded = fake.record(claimed[0], Cancelled("the author took it back"))
        assert recorded.accepted
        assert fake.record(claimed[0], Cancelled("the author took it back")).accepted, "its own lost reply"
        assert status(fake, claimed[0]) == ends
        assert fake.history(claimed[0].job_id) == [(1, AttemptOutcome.CANCELLED)]
        if ends == WorkflowStatus.RUNNING:
            fake.run(*fake.succeed(claimed[1], 4).dispatches)
            assert fake.result(claimed[0].workflow_id) == 4
