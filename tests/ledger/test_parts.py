"""What a failed job does to its workflow: stops it, fails it whole, or leaves a part out of a fan-in."""

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
from agentq.ledger.records import Bell, Claim
from agentq.ledger.results import missing_parts
from agentq.outcomes import GiveUp
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus
from tests.support.player import FAILURE, Player, Written, judged, written
from tests.support.steps import add, echo, numbers, total

WHO: dict[str, Any] = {"actor": "ann", "reason": "known"}
THREE = [add.s(1, 1), add.s(2, 2), add.s(3, 3)]


def begin(player: Player, canvas: Signature) -> list[Claim]:
    return [player.take(bell) for bell in player.start(canvas).bells]


def lose(player: Player, *lost: Claim) -> list[Bell]:
    """Fail jobs for good; returns the bells of what went on without the last one."""
    bells: tuple[Bell, ...] = ()
    for held in lost:
        bells = player.fail(held).bells
    return list(bells)


def letters(player: Player, held: Claim) -> list[Any]:
    """The open dead letters of the workflow."""
    wanted = (DeadLetterRow.workflow_id == held.workflow_id, DeadLetterRow.status == "open")
    query = select(DeadLetterRow.__table__).where(*wanted).order_by(DeadLetterRow.id)
    return player.ledger.read(lambda c: list(c.execute(query)))


def status(player: Player, held: Claim) -> str:
    return str(player.workflow(held.workflow_id).status)


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
        self, player: Player, needs: object, failures: int, goes_on: bool
    ) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=needs))
        lose(player, *held[:failures])
        assert status(player, held[0]) == (WorkflowStatus.FAILED if failures == 3 and not goes_on else "running")
        bells = list(player.succeed(held[-1], 6).bells) if failures < 3 else self._queued(player, held[0])
        for one in held[failures:-1]:
            bells = list(player.succeed(one, 4).bells)
        assert bool(bells) is goes_on
        if goes_on:
            player.run(*bells)
            assert status(player, held[0]) == WorkflowStatus.SUCCEEDED
        else:
            with pytest.raises(StepFailed, match=rf"{failures} of its 3 parts are missing, but it needs"):
                player.result(held[0].workflow_id)

    @staticmethod
    def _queued(player: Player, held: Claim) -> list[Bell]:
        found = player.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, -1))
        return [b for q in found for b in player.write(lambda tx, q=q: redelivery.ring_again(tx, q, -1, 10))]

    def test_the_body_sees_what_is_there_in_order_and_what_is_missing_and_why(self, player: Player) -> None:
        held = begin(player, group(THREE) | echo.s().set(needs="any"))
        player.succeed(held[2], 6)
        player.fail(held[1])
        (bell,) = player.succeed(held[0], 2).bells
        body = player.take(bell)
        assert body.inputs == "[2,6]"
        (missing,) = player.ledger.read(lambda c: missing_parts(c, body.job_id))
        assert (missing.position, missing.job_id, missing.step) == (1, held[1].job_id, held[1].step)
        assert (missing.error_category, missing.error_message) == (FAILURE.category, FAILURE.message)
        player.succeed(body)

    def test_of_an_each_an_item_is_missing(self, player: Player) -> None:
        first = player.begin(numbers.s(3) | each(add.s(1) | add.s(10)) | total.s().set(needs=0.6))
        branches = [player.take(bell) for bell in player.succeed(first, [0, 1, 2]).bells]
        assert player.fail(branches[1]).bells == ()
        ends = [player.succeed(held, 1).bells[0] for held in (branches[0], branches[2])]
        player.run(*ends)
        assert player.result(first.workflow_id) == 22
        left = [job for job in player.jobs(first.workflow_id) if job.status == JobStatus.CANCELLED]
        assert [job.after_id for job in left] == [branches[1].job_id], "what followed the lost item never runs"

    def test_two_failures_in_one_branch_are_one_missing_part(self, player: Player) -> None:
        branch = group(add.s(1, 1), add.s(2, 2)) | total.s()
        started = player.start(group(branch, add.s(3, 3), add.s(4, 4)) | total.s().set(needs=1))
        held = [player.take(bell) for bell in started.bells]
        assert lose(player, held[0], held[1]) == []
        player.succeed(held[2], 6)
        (bell,) = player.succeed(held[3], 8).bells
        player.run(bell)
        assert player.result(started.workflow_id) == 14

    def test_an_inner_fan_in_that_lacks_parts_is_a_missing_part_of_the_outer(self, player: Player) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = player.start(group(inner, add.s(3, 3)) | total.s().set(needs="any"))
        held = [player.take(bell) for bell in started.bells]
        player.succeed(held[0], 2)
        player.fail(held[1])
        (bell,) = player.succeed(held[2], 6).bells
        player.run(bell)
        assert player.result(started.workflow_id) == 6

    def test_a_worker_lost_for_good_is_a_missing_part_too(self, player: Player) -> None:
        started = player.start(group(THREE[:2]) | total.s().set(needs="any"))
        dead = Player(player.ledger, lease=-1)
        dead.take(started.bells[0])
        judge = judged(0)
        player.succeed(player.take(started.bells[1]), 4)
        for _ in range(10):
            bells = player.dispatched_by(lambda tx: rescues.rescue_lost(tx, judge, 10))
            if player.job(started.bells[0].job_id).status == JobStatus.FAILED:
                break
            dead.take(bells[0])
        player.run(*bells)
        assert player.result(started.workflow_id) == 4


class TestWithin:
    def test_after_it_the_fan_in_goes_on_and_the_late_are_cancelled(self, player: Player) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=1, within=60))
        join = player.job(player.job(held[0].job_id).join_id)
        assert join.deadline_at is None, "its time begins when the first part has ended"
        player.succeed(held[0], 2)
        assert player.job(join.id).deadline_at is not None
        player.age(join.id, deadline_at=1)
        (ready,) = player.dispatched_by(lambda tx: expiry.end_overdue(tx, 10))
        body = player.take(ready)
        assert body.inputs == "[2]"
        missing = player.ledger.read(lambda c: missing_parts(c, body.job_id))
        assert [(part.position, part.error_category) for part in missing] == [
            (1, "deadline_exceeded"),
            (2, "deadline_exceeded"),
        ]
        assert not player.succeed(held[1], 4).accepted
        assert player.history(held[2].job_id) == [(1, AttemptOutcome.CANCELLED)]
        player.succeed(body, 2)
        assert player.result(held[0].workflow_id) == 2

    def test_too_little_by_then_is_a_dead_letter_of_the_fan_in(self, player: Player) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=2, within=60))
        player.succeed(held[0], 2)
        player.age(player.job(held[0].job_id).join_id, deadline_at=1)
        assert player.dispatched_by(lambda tx: expiry.end_overdue(tx, 10)) == []
        assert status(player, held[0]) == WorkflowStatus.FAILED
        assert player.write(lambda tx: expiry.end_overdue(tx, 10)) == 0
        (letter,) = letters(player, held[0])
        assert (letter.job_id, letter.error_category) == (player.job(held[0].job_id).join_id, "missing_parts")
        assert letter.error_message == "2 of its 3 parts are missing, but it needs 2"


class TestTime:
    def test_a_part_that_expired_before_it_ran_is_left_out(self, player: Player) -> None:
        started = player.start(group(add.s(1, 1).set(expires=60), add.s(2, 2)) | total.s().set(needs="any"))
        player.age(started.bells[0].job_id, expires_at=1)
        assert player.write(lambda tx: expiry.expire(tx, 10)) == 1
        (bell,) = player.succeed(player.take(started.bells[1]), 4).bells
        body = player.take(bell)
        (missing,) = player.ledger.read(lambda c: missing_parts(c, body.job_id))
        assert missing.error_message == f"step {add.name!r} expired before it ran"
        player.succeed(body, 4)

    def test_a_part_that_was_not_done_by_its_deadline_is_left_out(self, player: Player) -> None:
        held = begin(player, group(THREE[:2]) | total.s().set(needs="any"))
        player.age(held[0].job_id, deadline_at=1)
        player.succeed(held[1], 4)
        player.run(*player.dispatched_by(lambda tx: expiry.end_overdue(tx, 10)))
        assert player.result(held[0].workflow_id) == 4

    def test_a_part_that_is_replayed_has_time_again(self, player: Player) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=2, within=60))
        lose(player, *held[:2])
        player.succeed(held[2], 6)
        join = player.job(player.job(held[0].job_id).join_id)
        player.age(join.id, deadline_at=1)
        player.write(lambda tx: dead_letters.replay(tx, held[0].job_id, **WHO))
        assert player.write(lambda tx: expiry.end_overdue(tx, 10)) == 0
        player.run(*player.succeed(player.take(*player.due()), 2).bells)
        assert player.result(held[0].workflow_id) == 8


class TestOnFailure:
    def test_continue_leaves_the_part_out_although_the_fan_in_says_nothing(self, player: Player) -> None:
        held = begin(player, group(add.s(1, 1).set(on_failure="continue"), add.s(2, 2)) | total.s())
        player.fail(held[0])
        player.run(*player.succeed(held[1], 4).bells)
        assert player.result(held[0].workflow_id) == 4

    def test_continue_goes_on_with_a_step_that_takes_nothing_from_it(self, player: Player) -> None:
        held = player.begin(add.s(1, 1).set(on_failure="continue") | numbers.si(2))
        player.run(*player.fail(held).bells)
        assert player.result(held.workflow_id) == [0, 1]

    @pytest.mark.parametrize("way", ["replay", "resolve"])
    def test_what_was_gone_on_from_is_not_let_live_again(self, player: Player, way: str) -> None:
        held = player.begin(add.s(1, 1).set(on_failure="continue") | numbers.si(2))
        bells = player.fail(held).bells
        decide: dict[str, Any] = {
            "replay": lambda tx: dead_letters.replay(tx, held.job_id, **WHO),
            "resolve": lambda tx: dead_letters.resolve(tx, held.job_id, "2", **WHO),
        }
        with pytest.raises(StateConflict, match="has gone on without it"):
            player.write(decide[way])
        player.run(*bells)
        assert player.result(held.workflow_id) == [0, 1]

    def test_continue_stops_where_nothing_could_go_on(self, player: Player) -> None:
        held = player.begin(add.s(1, 1).set(on_failure="continue") | echo.s())
        player.fail(held)
        assert status(player, held) == WorkflowStatus.FAILED

    def test_stop_stops_also_where_the_fan_in_could_do_without(self, player: Player) -> None:
        held = begin(player, group(add.s(1, 1).set(on_failure="stop"), add.s(2, 2)) | total.s().set(needs="any"))
        player.fail(held[0])
        assert status(player, held[0]) == WorkflowStatus.FAILED

    def test_fail_cancels_all_the_rest_at_once(self, player: Player) -> None:
        held = begin(player, group(add.s(1, 1).set(on_failure="fail"), add.s(2, 2)) | total.s())
        player.fail(held[0])
        jobs = player.jobs(held[0].workflow_id)
        assert [job.status for job in jobs] == ["failed", "cancelled", "cancelled", "cancelled"]
        assert status(player, held[0]) == WorkflowStatus.FAILED
        assert not player.succeed(held[1], 4).accepted
        with pytest.raises(StateConflict, match="cancelled or failed as a whole"):
            player.write(lambda tx: dead_letters.replay(tx, held[0].job_id, **WHO))


class TestReplay:
    def _replay(self, player: Player, held: Claim) -> Claim:
        player.write(lambda tx: dead_letters.replay(tx, held.job_id, **WHO))
        (bell,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
        return player.take(bell)

    def test_brings_a_missing_part_back(self, player: Player) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=1))
        player.fail(held[0])
        again = self._replay(player, held[0])
        player.succeed(held[1], 4)
        assert player.succeed(held[2], 6).bells == (), "it waits for the part again"
        player.run(*player.succeed(again, 2).bells)
        assert player.result(held[0].workflow_id) == 12

    @pytest.mark.parametrize("way", ["replay", "resolve"])
    def test_lets_a_fan_in_go_on_that_lacked_parts(self, player: Player, way: str) -> None:
        held = begin(player, group(THREE) | total.s().set(needs=2))
        lose(player, held[0], held[1])
        player.succeed(held[2], 6)
        assert status(player, held[0]) == WorkflowStatus.FAILED
        if way == "resolve":
            bells = player.dispatched_by(lambda tx: dead_letters.resolve(tx, held[0].job_id, "2", **WHO))
        else:
            again = self._replay(player, held[0])
            assert status(player, held[0]) == WorkflowStatus.RUNNING
            bells = list(player.succeed(again, 2).bells)
        player.run(*bells)
        assert player.result(held[0].workflow_id) == 8

    def test_through_a_fan_in_that_was_missing_itself(self, player: Player) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = player.start(group(inner, add.s(3, 3)) | total.s().set(needs=1))
        held = [player.take(bell) for bell in started.bells]
        player.succeed(held[0], 2)
        player.fail(held[1])
        again = self._replay(player, held[1])
        assert player.succeed(held[2], 6).bells == ()
        player.run(*player.succeed(again, 4).bells)
        assert player.result(started.workflow_id) == 12

    def test_is_refused_once_the_fan_in_has_gone_on(self, player: Player) -> None:
        held = begin(player, group(THREE[:2]) | total.s().set(needs="any"))
        player.fail(held[0])
        player.run(*player.succeed(held[1], 4).bells)
        with pytest.raises(StateConflict, match="has gone on without it"):
            player.write(lambda tx: dead_letters.replay(tx, held[0].job_id, **WHO))
        assert player.job(held[0].job_id).status == JobStatus.FAILED


class TestLackedParts:
    """A fan-in with too few parts is a dead letter: run the parts again, go on without them, or give it up."""

    def _late(self, player: Player, canvas: Signature | None = None) -> tuple[list[Claim], Any]:
        """Two of three parts are late, one of them in a retry's pause; returns the claims and the letter."""
        held = begin(player, canvas or group(THREE) | total.s().set(needs=2, within=60))
        player.succeed(held[0], 2)
        player.retry(held[1], delay=600)
        player.age(player.job(held[0].job_id).join_id, deadline_at=1)
        player.write(lambda tx: expiry.end_overdue(tx, 10))
        (letter,) = letters(player, held[0])
        return held, letter

    def test_a_replay_runs_the_missing_parts_again(self, player: Player) -> None:
        held, letter = self._late(player)
        player.write(lambda tx: dead_letters.replay(tx, letter.job_id, **WHO))
        assert status(player, held[0]) == WorkflowStatus.RUNNING
        again = [player.take(bell) for bell in player.due()]
        assert {one.job_id for one in again} == {held[1].job_id, held[2].job_id}
        assert player.succeed(again[0], 4).bells == ()
        player.run(*player.succeed(again[1], 6).bells)
        assert player.result(held[0].workflow_id) == 12

    def test_parts_that_are_late_again_are_a_new_dead_letter(self, player: Player) -> None:
        held, letter = self._late(player)
        player.write(lambda tx: dead_letters.replay(tx, letter.job_id, **WHO))
        again = [player.take(bell) for bell in player.due()]
        lose(player, *again)
        assert status(player, held[0]) == WorkflowStatus.FAILED
        assert [one.job_id for one in letters(player, held[0])] == [
            again[0].job_id,
            again[1].job_id,
            letter.job_id,
        ]

    def test_a_resolution_goes_on_with_what_is_there(self, player: Player) -> None:
        held, letter = self._late(player)
        bells = player.dispatched_by(lambda tx: dead_letters.go_on(tx, letter.job_id, **WHO))
        player.run(*bells)
        assert player.result(held[0].workflow_id) == 2

    def test_given_up_it_stays_failed(self, player: Player) -> None:
        held, letter = self._late(player)
        player.write(lambda tx: dead_letters.cancel(tx, letter.job_id, **WHO))
        assert status(player, held[0]) == WorkflowStatus.FAILED
        assert letters(player, held[0]) == []

    def test_a_replay_takes_the_letters_of_its_parts_along_and_theirs_takes_it(self, player: Player) -> None:
        for by_part in (False, True):
            held = begin(player, group(THREE) | total.s().set(needs=2))
            lose(player, held[0], held[1])
            player.succeed(held[2], 6)
            part, _, fan_in = letters(player, held[0])
            chosen = part if by_part else fan_in
            player.write(lambda tx, chosen=chosen: dead_letters.replay(tx, chosen.job_id, **WHO))
            left = [one.job_id for one in letters(player, held[0])]
            assert left == ([held[1].job_id] if by_part else [])
            for bell in player.due():
                ended = player.succeed(player.take(bell), 1)
            player.run(*ended.bells)
            assert player.result(held[0].workflow_id) == (7 if by_part else 8)

    def test_what_was_in_its_parts_comes_back_also_what_had_not_grown(self, player: Player) -> None:
        inner = numbers.s(2) | each(add.s(1) | group(echo.s(), echo.s()) | echo.si(1)) | echo.s().set(needs="any")
        canvas = group(add.s(1, 1), inner | group(echo.si(), echo.si()) | echo.si(5)) | echo.s().set(
            needs="all", within=60
        )
        for grown in (False, True):
            held = begin(player, canvas.clone())
            player.succeed(held[0], 2)
            if grown:
                first, _ = player.succeed(held[1], [0, 1]).bells
                player.succeed(player.take(first), 1)
            join = player.job(player.job(held[0].job_id).join_id)
            player.age(join.id, deadline_at=1)
            player.write(lambda tx: expiry.end_overdue(tx, 10))
            player.write(lambda tx, join=join: dead_letters.replay(tx, join.id, **WHO))
            player.run(*player.due())
            assert status(player, held[0]) == WorkflowStatus.SUCCEEDED

    def test_an_inner_fan_in_that_lacks_parts_has_a_letter_too(self, player: Player) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
        started = player.start(group(inner, add.s(3, 3)) | total.s().set(needs="all"))
        held = [player.take(bell) for bell in started.bells]
        player.succeed(held[0], 2)
        player.fail(held[1])
        player.succeed(held[2], 6)
        assert status(player, held[0]) == WorkflowStatus.FAILED
        (cause,) = [one for one in letters(player, held[0]) if one.job_id == player.job(held[0].job_id).join_id]
        player.run(*player.dispatched_by(lambda tx: dead_letters.go_on(tx, cause.job_id, **WHO)))
        assert player.result(started.workflow_id) == 8

    def test_what_still_runs_in_it_is_cancelled_when_the_fan_in_around_it_goes_on(self, player: Player) -> None:
        pair = group(add.s(1, 1), add.s(2, 2)) | total.s()
        inner = group(pair, add.s(3, 3)) | total.s().set(needs=2)
        held = begin(player, group(inner, add.s(4, 4)) | total.s().set(needs="any"))
        player.fail(held[0])
        player.succeed(held[2], 6)
        player.run(*player.succeed(held[3], 8).bells)
        assert player.result(held[0].workflow_id) == 8
        assert player.job(held[1].job_id).status == JobStatus.CANCELLED


class TestCancel:
    def test_a_job_of_a_part_takes_only_its_part_along(self, player: Player) -> None:
        canvas = group(add.s(1, 1) | echo.s(), add.s(2, 2)) | total.s().set(needs="any")
        held = begin(player, canvas)
        player.succeed(held[1], 4)
        waiting = player.jobs(held[0].workflow_id)[1]
        bells = player.dispatched_by(lambda tx: cancels.cancel_job(tx, waiting.id, **WHO))
        assert not player.succeed(held[0], 2).accepted
        player.run(*bells)
        assert player.result(held[0].workflow_id) == 4
        assert not player.write(lambda tx: cancels.cancel_job(tx, waiting.id, **WHO))

    def test_a_job_that_all_needs_cancels_the_workflow(self, player: Player) -> None:
        held = player.begin(add.s(1, 1) | echo.s())
        job = player.jobs(held.workflow_id)[1]
        cancelled = player.ledger.write(written(lambda tx: cancels.cancel_job(tx, job.id, **WHO)))
        assert cancelled == Written(True)
        assert status(player, held) == WorkflowStatus.CANCELLED
        assert not player.succeed(held, 2).accepted

    def test_a_branch_of_a_stopped_workflow_is_cancelled_alone(self, player: Player) -> None:
        held = begin(player, group(THREE))
        player.fail(held[0])
        cancelled = player.ledger.write(written(lambda tx: cancels.cancel_job(tx, held[1].job_id, **WHO)))
        assert cancelled == Written(True)
        assert [job.status for job in player.jobs(held[0].workflow_id)] == [
            "failed",
            "cancelled",
            "running",
            "waiting",
        ]
        player.succeed(held[2], 6)
        with pytest.raises(StateConflict, match="was cancelled"):
            player.write(lambda tx: dead_letters.replay(tx, held[0].job_id, **WHO))

    def test_a_part_that_stopped_its_workflow_can_be_left_out(self, player: Player) -> None:
        inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2) | echo.s()
        outer = group(inner, add.s(3, 3).set(on_failure="continue")) | total.s()
        started = player.start(outer)
        held = [player.take(bell) for bell in started.bells]
        player.fail(held[0])
        player.succeed(held[1], 4)
        assert status(player, held[0]) == WorkflowStatus.FAILED
        behind = next(job for job in player.jobs(started.workflow_id) if job.step == total.name)
        player.write(lambda tx: cancels.cancel_job(tx, behind.id, **WHO))
        assert status(player, held[0]) == WorkflowStatus.RUNNING
        player.run(*player.succeed(held[2], 6).bells)
        assert player.result(started.workflow_id) == 6

    @pytest.mark.parametrize(
        ("canvas", "ends"),
        [
            (group(THREE[:2]) | total.s().set(needs="any"), WorkflowStatus.RUNNING),
            (group(THREE[:2]) | total.s(), WorkflowStatus.CANCELLED),
        ],
        ids=["of a part", "of the whole"],
    )
    def test_a_step_gives_up(self, player: Player, canvas: Signature, ends: WorkflowStatus) -> None:
        held = begin(player, canvas)
        handed = player.record(held[0], GiveUp("the author took it back"))
        assert handed.accepted
        assert player.record(held[0], GiveUp("the author took it back")).accepted, "its own lost reply"
        assert status(player, held[0]) == ends
        assert player.history(held[0].job_id) == [(1, AttemptOutcome.CANCELLED)]
        if ends == WorkflowStatus.RUNNING:
            player.run(*player.succeed(held[1], 4).bells)
            assert player.result(held[0].workflow_id) == 4
