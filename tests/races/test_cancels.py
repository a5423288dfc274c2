"""A person cancels a job at the time at which its worker ends it."""

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
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker, decided, record, written
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, numbers, total

ROUNDS = 30
CANVASES: dict[str, tuple[Signature, object]] = {
    "the only step": (add.s(1, 2), 3),
    "before a step": (add.s(1, 2) | echo.s(), 3),
    "before a group": (add.s(1, 2) | group(echo.s(), echo.s()) | total.si([1]), 3),
    "before an each": (numbers.s(3) | each(echo.s()) | total.si([1]), [0, 1, 2]),
}


def cancel(fake: FakeWorker, claimed: Claim) -> bool:
    return fake.write(lambda tx: cancels.cancel(tx, claimed.workflow_id, actor="ann", reason="stop"))


def check(fake: FakeWorker, claimed: Claim, accepted: bool, cancelled: bool) -> None:
    """One of two stories, never a mixture."""
    jobs = fake.jobs(claimed.workflow_id)
    mine = next(job for job in jobs if job.id == claimed.job_id)
    assert mine.status == (JobStatus.SUCCEEDED if accepted else JobStatus.CANCELLED)
    assert fake.history(claimed.job_id) == [(1, "succeeded" if accepted else "cancelled")]
    status = fake.workflow(claimed.workflow_id).status
    assert status == (WorkflowStatus.CANCELLED if cancelled else WorkflowStatus.SUCCEEDED)
    left = [job for job in jobs if JobStatus(job.status) not in JOB_FINAL]
    assert not left, f"left over after the end of the workflow: {[(job.step, job.status) for job in left]}"


@covers(Fault.CONFLICT, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_a_cancel_and_a_completion_concurrently(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    with fakes(ledger_url, 2) as (worker, operator):
        for _ in range(ROUNDS):
            claimed = worker.begin(canvas)
            recorded, cancelled = concurrently(
                [partial(worker.succeed, claimed, result), partial(cancel, operator, claimed)]
            )
            check(worker, claimed, recorded.accepted, cancelled)


@covers(Fault.CONFLICT, Phase.HAND_OVER, Phase.FAN_OUT, Phase.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_a_cancel_finds_the_hand_over_open(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    outcome = Succeed(str(result))
    with fakes(ledger_url, 2) as (worker, operator):
        claimed = worker.begin(canvas)
        recorded, cancelled = while_open(
            worker.ledger,
            lambda tx: record(tx, claimed, outcome),
            partial(cancel, operator, claimed),
        )
        assert recorded.accepted
        check(worker, claimed, True, cancelled)


@covers(Fault.CONFLICT, Phase.HAND_OVER, Phase.FAN_OUT, Phase.CANCEL)
@pytest.mark.parametrize("name", CANVASES)
def test_a_hand_over_finds_the_cancel_open(ledger_url: str, name: str) -> None:
    canvas, result = CANVASES[name]
    with fakes(ledger_url, 2) as (worker, operator):
        claimed = worker.begin(canvas)
        cancelled, recorded = while_open(
            operator.ledger,
            lambda tx: cancels.cancel(tx, claimed.workflow_id, actor="ann", reason="stop"),
            partial(worker.succeed, claimed, result),
        )
        assert cancelled
        check(worker, claimed, recorded.accepted, True)
        assert not recorded.accepted


@covers(Fault.CONFLICT, Phase.CLAIM, Phase.CANCEL)
def test_a_claim_beside_a_cancel(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, operator):
        for _ in range(ROUNDS):
            started = worker.start(add.s(1, 2))
            claimed, _ = concurrently(
                [partial(worker.claim, started.dispatches[0]), partial(cancel, operator, started)]  # type: ignore[arg-type]
            )
            history = [] if claimed is None else [(1, "cancelled")]
            assert worker.history(started.dispatches[0].job_id) == history
            assert worker.job(started.dispatches[0].job_id).status == JobStatus.CANCELLED


@covers(Fault.CONFLICT, Phase.COMPLETION, Phase.SWEEP)
def test_a_rescue_beside_a_completion(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, caretaker):
        worker.renew(-1)
        for _ in range(ROUNDS):
            claimed = worker.begin(add.s(1, 2) | echo.s())
            recorded, rescued = concurrently(
                [
                    partial(worker.succeed, claimed, 3),
                    partial(caretaker.ledger.write, written(lambda tx: rescues.rescue_lost(tx, decided(0), 10))),
                ]
            )
            assert recorded.accepted is not bool(rescued.value)
            assert worker.history(claimed.job_id) == [(1, "succeeded" if recorded.accepted else "lost")]
            caretaker.run(*recorded.dispatches, *rescued.dispatches)
            assert worker.workflow(claimed.workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Phase.HAND_OVER, Phase.FAN_IN, Phase.CANCEL)
@pytest.mark.parametrize("needs", ["any", None], ids=["a part", "the whole"])
def test_a_cancel_of_one_job_that_finds_its_completion_open_takes_nothing_away(
    ledger_url: str, needs: str | None
) -> None:
    with fakes(ledger_url, 2) as (worker, operator):
        started = worker.start(group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=needs))
        claimed, other = map(worker.take, started.dispatches)
        recorded, is_cancelled = while_open(
            worker.ledger,
            lambda tx: record(tx, claimed, Succeed("3")),
            partial(
                operator.write,
                lambda tx: cancels.cancel_job(tx, claimed.job_id, actor="ann", reason="too slow"),
            ),
        )
        assert (recorded.accepted, is_cancelled) == (True, False), "the completion stands, and the cancel says so"
        worker.run(*worker.succeed(other, 7).dispatches)
        assert worker.result(started.workflow_id) == 10
