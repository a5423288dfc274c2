"""Blocked jobs, for people who look at them or decide about them: moved, waited for, replayed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentq.ledger import limits
from agentq.ledger.caretaking import due_jobs
from agentq.operations import dead_letters, jobs, workflow_waits
from agentq.outcomes import Fail
from tests.support.fake_worker import FAILURE
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask

SMALL = "model:small"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker whose two slots of a limit are taken by jobs that have not begun."""
    worker = LimitedWorker(ledger_url)
    worker.begin_all([ask.s()] * SLOTS)
    yield worker
    worker.ledger.close()


def test_a_blocked_job_that_is_moved_keeps_its_place_and_is_queued_in_the_new_queue(worker: LimitedWorker) -> None:
    moved, after = worker.begin_all([ask.s()] * 2)
    assert jobs.move(worker.ledger, str(moved), "other").status == BLOCKED
    assert worker.job(moved).blocked_on == SMALL
    worker.end(worker.next())
    assert worker.statuses([moved, after]) == [QUEUED, BLOCKED]
    assert worker.published[-1].job_id == moved
    assert worker.published[-1].queue == "other"


def test_a_workflow_whose_jobs_are_all_blocked_waits_for_slots(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([ask.s()])
    said = workflow_waits.explanation(worker.ledger, str(worker.job(job).workflow_id))
    assert said == f"Job {job} of step {ask.name!r} waits for slots of {SMALL}, 2 of 2, 1st of tenant acme."


def test_a_replayed_job_stands_in_the_line_of_its_limit_again(worker: LimitedWorker) -> None:
    failed = worker.next()
    worker.end(failed, Fail(FAILURE))
    [taker] = worker.begin_all([ask.s()])
    assert worker.job(taker).status == QUEUED
    dead_letters.replay(worker.ledger, str(failed.job_id), actor="ann", reason="fixed")
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert worker.statuses([failed.job_id, taker]) == [BLOCKED, QUEUED]
    assert worker.limit(SMALL).used == SLOTS
    worker.end(worker.next())
    assert worker.job(failed.job_id).status == QUEUED
    assert worker.take(worker.published[-1]).attempt == failed.attempt + 1


def test_a_result_by_hand_for_a_job_whose_slot_was_not_given_back_frees_it(worker: LimitedWorker) -> None:
    failed = worker.next()
    with worker.dying():
        worker.end(failed, Fail(FAILURE))
        [blocked] = worker.begin_all([ask.s()])
    dead_letters.resolve(worker.ledger, str(failed.job_id), result="yes", actor="ann", reason="done by hand")
    limits.enter_unawaited(worker.ledger)
    limits.fill(worker.ledger)
    assert worker.job(blocked).status == QUEUED
    assert (worker.job(failed.job_id).held, worker.limit(SMALL).used) == (0, SLOTS)
