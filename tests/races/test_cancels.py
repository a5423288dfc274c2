"""Somebody takes a job away at the moment at which its worker is done with it."""

from __future__ import annotations

from functools import partial

import pytest
from celery import Signature, group

from agentq import each
from agentq.ledger import cancels
from agentq.ledger.caretaking import rescues
from agentq.ledger.records import Claim
from agentq.outcomes import Succeed
from agentq.states import JOB_FINAL, JobStatus, WorkflowStatus
from tests.races.overlap import at_one_moment, players, while_open
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, judged, recorded, written
from tests.support.steps import add, echo, numbers, total

ROUNDS = 30
CANVASES: dict[str, tuple[Signature, object]] = {
    "the only step": (add.s(1, 2), 3),
    "before a step": (add.s(1, 2) | echo.s(), 3),
    "before a group": (add.s(1, 2) | group(echo.s(), echo.s()) | total.si([1]), 3),
    "before an each": (numbers.s(3) | each(echo.s()) | total.si([1]), [0, 1, 2]),
}


def cancel(player: Player, held: Claim) -> bool:
    return player.write(lambda tx: cancels.cancel(tx, held.workflow_id, actor="ann", reason="stop"))


def check(player: Player, held: Claim, accepted: bool, cancelled: bool) -> None:
    """One of two stories, never a mixture."""
    jobs = player.jobs(held.workflow_id)
    mine = next(job for job in jobs if job.id == held.job_id)
    assert mine.status == (JobStatus.SUCCEEDED if accepted else JobStatus.CANCELLED)
    assert player.history(held.job_id) == [(1, "succeeded" if accepted else "cancelled")]
    status = player.workflow(held.workflow_id).status
    assert status == (WorkflowStatus.CANCELLED if cancelled else WorkflowStatus.SUCCEEDED)
    left = [job for job in jobs if JobStatus(job.status) not in JOB_FINAL]
    assert not left, f"left over after the end of the workflow: {[(job.step, job.status) for job in left]}"


@covers(Fault.CONFLICT, Moment.COMPLETION, Moment.HAND_OVER, Moment.FAN_OUT, Moment.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_at_one_moment(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    with players(ledger_url, 2) as (worker, operator):
        for _ in range(ROUNDS):
            held = worker.begin(canvas)
            handed, cancelled = at_one_moment(
                [partial(worker.succeed, held, result), partial(cancel, operator, held)]
            )
            check(worker, held, handed.accepted, cancelled)


@covers(Fault.CONFLICT, Moment.HAND_OVER, Moment.FAN_OUT, Moment.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_a_cancel_finds_the_hand_over_open(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    outcome = Succeed(str(result))
    with players(ledger_url, 2) as (worker, operator):
        held = worker.begin(canvas)
        handed, cancelled = while_open(
            worker.ledger,
            lambda tx: recorded(tx, held, outcome),
            partial(cancel, operator, held),
        )
        assert handed.accepted
        check(worker, held, True, cancelled)


@covers(Fault.CONFLICT, Moment.HAND_OVER, Moment.FAN_OUT, Moment.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_a_hand_over_finds_the_cancel_open(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    with players(ledger_url, 2) as (worker, operator):
        held = worker.begin(canvas)
        cancelled, handed = while_open(
            operator.ledger,
            lambda tx: cancels.cancel(tx, held.workflow_id, actor="ann", reason="stop"),
            partial(worker.succeed, held, result),
        )
        assert cancelled
        check(worker, held, handed.accepted, True)
        assert not handed.accepted


@covers(Fault.CONFLICT, Moment.CLAIM, Moment.CANCEL)
def test_a_claim_at_the_moment_of_a_cancel(ledger_url: str) -> None:
    with players(ledger_url, 2) as (worker, operator):
        for _ in range(ROUNDS):
            started = worker.start(add.s(1, 2))
            held, _ = at_one_moment(
                [partial(worker.claim, started.bells[0]), partial(cancel, operator, started)]  # type: ignore[arg-type]
            )
            history = [] if held is None else [(1, "cancelled")]
            assert worker.history(started.bells[0].job_id) == history
            assert worker.job(started.bells[0].job_id).status == JobStatus.CANCELLED


@covers(Fault.CONFLICT, Moment.COMPLETION, Moment.SWEEP)
def test_a_rescue_at_the_moment_of_completion(ledger_url: str) -> None:
    with players(ledger_url, 2) as (worker, caretaker):
        worker.renew(-1)
        for _ in range(ROUNDS):
            held = worker.begin(add.s(1, 2) | echo.s())
            handed, rescued = at_one_moment(
                [
                    partial(worker.succeed, held, 3),
                    partial(caretaker.ledger.write, written(lambda tx: rescues.rescue_lost(tx, judged(0), 10))),
                ]
            )
            assert handed.accepted is not bool(rescued.value)
            assert worker.history(held.job_id) == [(1, "succeeded" if handed.accepted else "lost")]
            caretaker.run(*handed.bells, *rescued.bells)
            assert worker.workflow(held.workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Moment.HAND_OVER, Moment.FAN_IN, Moment.CANCEL)
@pytest.mark.parametrize("needs", ["any", None], ids=["a part", "the whole"])
def test_a_cancel_of_one_job_that_finds_its_completion_open_takes_nothing_away(
    ledger_url: str, needs: str | None
) -> None:
    with players(ledger_url, 2) as (worker, operator):
        started = worker.start(group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=needs))
        held, other = map(worker.take, started.bells)
        handed, is_cancelled = while_open(
            worker.ledger,
            lambda tx: recorded(tx, held, Succeed("3")),
            partial(
                operator.write,
                lambda tx: cancels.cancel_job(tx, held.job_id, actor="ann", reason="too slow"),
            ),
        )
        assert (handed.accepted, is_cancelled) == (True, False), "the completion stands, and the cancel says so"
        worker.run(*worker.succeed(other, 7).bells)
        assert worker.result(started.workflow_id) == 10
