"""Why a workflow or a job is not done: one reason for each job, and the event that ends it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from celery import group
from sqlalchemy import update

from agentq import Rate, Tokens, each, step
from agentq.exceptions import NotFound
from agentq.ledger.models import LimitRow
from agentq.operations import limits, why
from agentq.outcomes import Fail, RetryLater
from agentq.runtime.step import Step
from agentq.states import JobStatus, WaitReason, WorkflowStatus
from tests.support.cooling import API, AT_ONCE, call, end_cooldown, refused
from tests.support.fake_worker import FAILURE, FakeWorker
from tests.support.limited import SLOTS, LimitedWorker, ask
from tests.support.steps import add, echo, numbers, total

SMALL = "model:small"


@step(limits=[Rate("steady", limit=60, per=60)])
def start_slowly() -> None:
    """One start a second."""


@step(limits=[Tokens("quota", limit=600, per=60, estimate=50)])
def spend() -> None:
    """Ten tokens a second."""


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def test_each_job_of_a_workflow_has_a_reason_and_those_come_first_that_others_wait_for(
    worker: LimitedWorker,
) -> None:
    [first] = worker.begin_all([group([ask.s()] * (SLOTS + 1)) | echo.s()])
    workflow = str(worker.next().workflow_id)
    found = why.find(worker.ledger, workflow)
    assert (found.job_id, found.status, found.is_complete, found.workers) == (
        None,
        WorkflowStatus.RUNNING,
        True,
        "",
    )
    assert [(one.status, one.name) for one in found.reasons] == [
        (JobStatus.RUNNING, WaitReason.ATTEMPT),
        (JobStatus.QUEUED, WaitReason.WORKER),
        (JobStatus.BLOCKED, WaitReason.SLOT),
        (JobStatus.WAITING, WaitReason.JOBS),
    ]
    running, queued, blocked, waiting = found.reasons
    assert running.job_id == first
    assert running.waiting_for == "the end of attempt 1, which runs"
    assert queued.waiting_for == "a free worker on queue 'celery'"
    assert blocked.waiting_for == f"slots of {SMALL}, 2 of 2, 1st of tenant acme"
    assert blocked.ends.endswith(f"look with: agentq limits show {SMALL}")
    assert waiting.ends.endswith(f"look with: agentq why {workflow}")
    limits.pause(worker.ledger, SMALL, reason="down", actor="ana")
    paused = why.find(worker.ledger, str(blocked.job_id))
    assert [(one.name, one.waiting_for) for one in paused.reasons] == [
        (WaitReason.PAUSED, f"slots of {SMALL}, paused by ana: down")
    ]
    assert paused.reasons[0].ends.endswith(f"agentq limits resume {SMALL}")
    short = why.find(worker.ledger, workflow, limit=2)
    assert (short.reasons, short.is_complete) == (found.reasons[:2], False)


def test_a_job_says_what_of_a_limit_holds_it_back(worker: LimitedWorker) -> None:
    worker.begin_all([call.s()] * (AT_ONCE + 2))
    worker.end(worker.next(), refused(25.5))
    [job] = worker.begin_all([call.s()])

    def reason() -> tuple[WaitReason, str]:
        [found] = why.find(worker.ledger, str(job)).reasons
        return found.name, str(found.waiting_for)

    name, text = reason()
    assert name is WaitReason.COOLDOWN
    assert re.fullmatch(rf"cooldown of {API}, 2[456] s \(429\), 4th of tenant acme", text)
    end_cooldown(worker)
    assert reason() == (WaitReason.SLOT, f"slots of {API}, 3 of 4 after a cooldown, 4th of tenant acme")
    limits.cool(worker.ledger, API, 30, reason="down\n again", actor="ana")
    name, text = reason()
    assert name is WaitReason.COOLDOWN
    assert " (ana: down again), 4th of tenant acme" in text


@pytest.mark.parametrize(
    ("slow", "limit", "name"), [(start_slowly, "steady", WaitReason.RATE), (spend, "quota", WaitReason.TOKENS)]
)
def test_the_time_of_a_start_or_of_enough_tokens_is_named(
    worker: LimitedWorker, slow: Step[[], None], limit: str, name: WaitReason
) -> None:
    worker.begin_all([slow.s()])
    due = time.time() + 40
    owed = update(LimitRow).where(LimitRow.name == limit).values(rate_due=due, tokens_due=due)
    worker.ledger.write(lambda tx: tx.connection.execute(owed))
    [job] = worker.begin_all([slow.s()])
    [found] = why.find(worker.ledger, str(job)).reasons
    assert found.name is name
    assert re.fullmatch(rf"{name} of {limit}, (3\d|40) s, 1st of tenant acme", str(found.waiting_for))


def test_a_job_that_waits_for_its_time_or_for_a_decision_says_so(fake: FakeWorker) -> None:
    late, dead = fake.begin(add.s(1, 2)), fake.begin(add.s(1, 2) | echo.s())
    fake.record(late, RetryLater(FAILURE, 60, "error: attempt 2 of 5"))
    fake.record(dead, Fail(FAILURE))
    [reason] = why.find(fake.ledger, str(late.job_id)).reasons
    assert reason.name is WaitReason.TIME
    assert reason.waiting_for.endswith("UTC (error: attempt 2 of 5)")
    failed, waiting = why.find(fake.ledger, str(dead.workflow_id)).reasons
    assert (failed.job_id, failed.name, waiting.name) == (dead.job_id, WaitReason.DECISION, WaitReason.JOBS)
    assert failed.ends.endswith(f"agentq dead-letters show {dead.job_id}")


def test_a_fan_in_waits_for_its_members(fake: FakeWorker) -> None:
    claimed = fake.begin(numbers.s(2) | each(add.s(1)) | total.s())
    fake.succeed(claimed, [1, 2])
    [fan_in] = [job for job in fake.jobs(claimed.workflow_id) if job.kind == "each"]
    [reason] = why.find(fake.ledger, str(fan_in.id)).reasons
    assert (reason.name, reason.waiting_for) == (WaitReason.MEMBERS, "2 of its 2 members")


def test_what_is_done_waits_for_nothing(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.succeed(claimed, 3)
    for id_, status in ((claimed.workflow_id, WorkflowStatus.SUCCEEDED), (claimed.job_id, JobStatus.SUCCEEDED)):
        found = why.find(fake.ledger, str(id_))
        assert (found.status, found.reasons, found.workers) == (status, [], "")


def test_where_no_worker_can_come_it_says_what_to_do(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2))
    fake.renew(-1)
    for id_ in (started.workflow_id, started.dispatches[0].job_id):
        assert why.find(fake.ledger, str(id_)).workers.startswith("No live worker uses this ledger")


def test_a_workflow_is_found_by_its_key_and_both_by_the_start_of_an_id(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2), key="k")
    job_id = started.dispatches[0].job_id
    assert why.find(fake.ledger, "key:k").workflow_id == started.workflow_id
    assert why.find(fake.ledger, str(started.workflow_id)[:-2]).job_id is None
    assert why.find(fake.ledger, str(job_id)[:-2]).job_id == job_id
    with pytest.raises(NotFound, match=r"no workflow fits 'ffff'.* no job fits 'ffff'"):
        why.find(fake.ledger, "ffff")
    with pytest.raises(NotFound, match=r"is no workflow id.* is no job id"):
        why.find(fake.ledger, "never")
