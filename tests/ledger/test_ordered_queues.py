"""A queue that is ordered has few jobs in the broker, and the next one is chosen by the ledger."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Signature

from agentq import AgentQ, Concurrency, each
from agentq.exceptions import ConfigurationError, StepDefinitionError
from agentq.ledger import limits
from agentq.ledger.caretaking import due_jobs
from agentq.operations import jobs
from agentq.outcomes import Succeed
from agentq.states import JobStatus
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask
from tests.support.steps import echo, numbers

QUEUE, LIMIT = "llm", "queue:llm"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker of an ordered queue."""
    worker = LimitedWorker(ledger_url)
    worker.ordered = {QUEUE: SLOTS}
    yield worker
    worker.ledger.close()


def call(number: int = 1) -> Signature:
    return echo.s(number).set(queue=QUEUE)


def run_all(worker: LimitedWorker) -> list[uuid.UUID]:
    """Run what is published until there is no more; returns the jobs in the order in which they ran."""
    order = []
    while worker.published:
        assert len(worker.published) <= SLOTS
        claimed = worker.next()
        order.append(claimed.job_id)
        worker.end(claimed)
    return order


def test_jobs_run_in_the_order_of_their_starts_and_few_are_in_the_broker(worker: LimitedWorker) -> None:
    started = worker.begin_all([call()] * 6)
    assert worker.statuses(started) == [QUEUED] * SLOTS + [BLOCKED] * 4
    assert run_all(worker) == started


def test_tenants_take_turns_and_a_higher_priority_comes_first(worker: LimitedWorker) -> None:
    flood = worker.begin_all([call()] * 6, tenant="flood")
    [urgent] = worker.begin_all([call()], tenant="flood", priority=9)
    [quiet] = worker.begin_all([call()], tenant="quiet")
    assert run_all(worker)[SLOTS : SLOTS + 2] in ([urgent, quiet], [quiet, urgent])
    assert flood


def test_plain_tasks_and_branches_of_an_each_stand_in_the_line_too(worker: LimitedWorker) -> None:
    worker.begin_all([numbers.s(5) | each(Signature("some.task").set(queue=QUEUE))])
    first = worker.next()
    worker.end(first, Succeed("[1, 2, 3, 4, 5]"))
    rows = [job for job in worker.jobs(first.workflow_id) if job.step == "some.task"]
    assert sorted(job.status for job in rows) == [BLOCKED] * 3 + [QUEUED] * SLOTS
    assert {tuple(job.limits) for job in rows} == {(LIMIT,)}


def test_a_job_of_another_queue_has_no_such_limit(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([echo.s(1)])
    assert worker.job(job).limits is None


def move(worker: LimitedWorker, job: uuid.UUID, queue: str) -> None:
    jobs.move(worker.ledger, str(job), queue, actor="ann", reason="elsewhere")


@pytest.mark.parametrize("place", [0, SLOTS], ids=["queued", "blocked"])
def test_a_job_that_is_moved_out_of_it_leaves_its_line_and_gives_its_slot_back(
    worker: LimitedWorker, place: int
) -> None:
    started = worker.begin_all([call()] * (SLOTS + 2))
    move(worker, started[place], "celery")
    moved = worker.job(started[place])
    assert (moved.status, moved.limits, moved.held) == (JobStatus.SCHEDULED, None, 0)
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert worker.job(started[place]).status == QUEUED
    rest = [job for job in started if job != moved.id]
    assert worker.statuses(rest) == [QUEUED] * SLOTS + [BLOCKED]
    assert worker.limit(LIMIT).used == SLOTS


@pytest.mark.parametrize("slots", [SLOTS, SLOTS + 1], ids=["full", "with-room"])
def test_a_job_that_is_moved_into_it_stands_in_its_line(worker: LimitedWorker, slots: int) -> None:
    worker.ordered = {QUEUE: slots}
    worker.begin_all([call()] * SLOTS)
    [job] = worker.begin_all([echo.s(1)])
    move(worker, job, QUEUE)
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    moved = worker.job(job)
    assert (moved.status, moved.limits) == (BLOCKED if slots == SLOTS else QUEUED, [LIMIT])
    assert moved.rank_at is not None


def test_a_job_with_other_limits_keeps_them(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([ask.s().set(queue=QUEUE)])
    assert worker.job(job).limits == ["model:small", LIMIT]
    move(worker, job, "celery")
    assert (worker.job(job).limits, worker.job(job).held) == (["model:small"], 0)
    assert (worker.limit("model:small").used, worker.limit(LIMIT).used) == (0, 0)
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert (worker.job(job).status, worker.job(job).held) == (QUEUED, 1)


def test_a_job_that_keeps_a_slot_while_it_is_blocked_gives_it_back(worker: LimitedWorker) -> None:
    worker.begin_all([call()] * SLOTS)
    [job] = worker.begin_all([ask.s().set(queue=QUEUE)])
    worker.set(job, refused=9)
    limits.admit(worker.ledger, "model:small")
    before = worker.job(job)
    move(worker, job, "celery")
    assert (worker.job(job).held, worker.limit("model:small").used) == (0, 0)
    assert before.status == BLOCKED


@pytest.mark.parametrize("ordered", [{"llm": 0}, {"": 1}, {"llm": "many"}, ["llm"]])
def test_a_setting_that_makes_no_sense_is_refused(ordered: Any) -> None:
    app = Celery("ordered", set_as_current=False)
    app.conf.agentq_ordered = ordered
    with pytest.raises(ConfigurationError, match="the setting agentq_ordered"):
        _ = AgentQ(app).settings


def test_a_limit_of_their_name_is_refused() -> None:
    with pytest.raises(StepDefinitionError, match=r"'queue', which is that of ordered queues"):
        Concurrency("queue", limit=1)
