"""A job over a limit waits in the ledger; the end of another one, or a caretaker, lets it go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Signature, group

from agentq import each
from agentq.exceptions import LedgerError, LedgerUnavailable
from agentq.ledger import cancels, limits, moves, retention
from agentq.ledger.caretaking import due_jobs
from agentq.operations import limits as operations
from agentq.outcomes import Cancelled, Fail, Outcome, RetryLater, Succeed
from agentq.policies.limits import Meters
from agentq.policies.limits_file import NO_FILE, LimitsFile
from tests.support.fake_worker import FAILURE
from tests.support.limited import BLOCKED, QUEUED, SLOTS, SUCCEEDED, LimitedWorker, ask, render, split, train
from tests.support.steps import add, numbers, total

SMALL = "model:small"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def test_a_job_over_its_limit_is_blocked_without_a_message_or_an_attempt(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 2))
    assert worker.statuses(jobs) == [QUEUED] * SLOTS + [BLOCKED] * 2
    assert worker.queued() == jobs[:SLOTS]
    last = worker.job(jobs[-1])
    assert (last.blocked_by, last.blocked_on, last.attempt, last.held) == ("limit", SMALL, 0, 0)


def test_each_value_of_a_key_has_its_own_slots(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s("small"), ask.s("large"), ask.s(model="small"), ask.s("large")])
    assert worker.statuses(jobs) == [QUEUED] * 4
    assert (worker.limit(SMALL).used, worker.limit("model:large").used) == (SLOTS, SLOTS)


@pytest.mark.parametrize(
    "outcome",
    [None, Fail(FAILURE), RetryLater(FAILURE, 60), Cancelled("not wanted")],
    ids=["success", "failure", "pause", "cancel"],
)
def test_the_end_of_an_attempt_admits_the_next_job(worker: LimitedWorker, outcome: Outcome | None) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 2))
    ended = worker.next()
    assert worker.end(ended, *([outcome] if outcome else []))
    assert worker.statuses(jobs[1:]) == [QUEUED] * SLOTS + [BLOCKED]
    assert worker.queued() == jobs[1 : SLOTS + 1]
    assert (worker.limit(SMALL).used, worker.job(ended.job_id).held) == (SLOTS, 0)


def test_a_job_that_is_tried_again_at_once_keeps_its_slot(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    worker.end(worker.next(), RetryLater(FAILURE, 0))
    assert worker.statuses(jobs) == [QUEUED] * SLOTS + [BLOCKED]
    assert worker.limit(SMALL).used == SLOTS


def test_a_job_whose_time_has_come_stands_in_the_line_at_its_old_place(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 3))
    worker.end(worker.next(), RetryLater(FAILURE, 60))
    worker.age(jobs[0], due_at=1)
    assert worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10)) == 1
    assert worker.statuses(jobs) == [BLOCKED, QUEUED, QUEUED, BLOCKED, BLOCKED]
    worker.end(worker.next())
    assert worker.statuses(jobs) == [QUEUED, SUCCEEDED, QUEUED, BLOCKED, BLOCKED]


def test_a_limited_step_after_another_one_waits_for_its_slot(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [first] = worker.begin_all([add.s(1, 2) | ask.si()])
    worker.published.rotate(1)  # its message is the last one
    claimed = worker.next()
    assert (claimed.job_id, claimed.successor) == (first, None)
    worker.end(claimed)
    assert worker.jobs(claimed.workflow_id)[1].status == BLOCKED
    worker.end(worker.next())
    assert worker.jobs(claimed.workflow_id)[1].status == QUEUED


def test_an_each_under_a_limit_publishes_no_more_messages_than_slots(worker: LimitedWorker) -> None:
    worker.begin_all([numbers.s(20) | each(ask.si()) | total.si([])])
    worker.end(worker.next(), Succeed(json.dumps(list(range(20)))))
    ran = 0
    while worker.published and worker.published[0].step == ask.name:
        assert len(worker.published) <= SLOTS
        worker.end(worker.next())
        ran += 1
    assert (ran, [dispatch.step for dispatch in worker.published]) == (20, [total.name])
    assert worker.limit(SMALL).used == 0


@pytest.mark.parametrize("error", [LedgerUnavailable("it does not answer"), LedgerError("it refused a statement")])
def test_an_error_after_the_commit_of_a_start_is_not_that_of_the_start(
    worker: LimitedWorker, monkeypatch: pytest.MonkeyPatch, error: LedgerError
) -> None:
    monkeypatch.setattr(limits, "enter", Mock(side_effect=error))
    [job] = worker.begin_all([ask.s()])
    monkeypatch.undo()
    limits.enter_unawaited(worker.ledger)
    assert worker.job(job).status == QUEUED


@pytest.mark.parametrize("together", [1, SLOTS])
def test_a_transaction_admits_few_jobs_and_the_others_are_admitted_after_it(
    worker: LimitedWorker, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    with worker.dying():
        jobs += worker.begin_all([ask.s("large")] * (SLOTS + 1), tenant="other")
    monkeypatch.setattr(limits, "_MOST_TOGETHER", together)
    limits.enter_unawaited(worker.ledger)
    assert worker.statuses(jobs) == ([QUEUED] * SLOTS + [BLOCKED]) * 2


def test_a_job_with_two_limits_takes_both_slots_or_none(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * SLOTS + [train.s()])
    assert worker.statuses(jobs) == [QUEUED] * SLOTS + [BLOCKED]
    assert (worker.job(jobs[-1]).blocked_on, worker.limit("gpu").used) == (SMALL, 0)
    worker.end(worker.next())
    assert worker.statuses(jobs) == [SUCCEEDED, QUEUED, QUEUED]
    assert (worker.limit("gpu").used, worker.limit(SMALL).used) == (1, SLOTS)


def test_a_job_that_was_refused_often_is_not_overtaken_for_ever(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [both] = worker.begin_all([train.s()])
    for _ in range(20):
        worker.begin_all([ask.s(), render.s()])
        worker.end(worker.next())
        if worker.job(both).status == QUEUED:
            break
    assert worker.job(both).status == QUEUED


def test_a_job_that_is_moved_into_another_line_has_its_turn_there(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [both] = worker.begin_all([train.s()], tenant="new")
    assert worker.job(both).blocked_on == SMALL
    worker.end(worker.next())
    assert worker.job(both).status == QUEUED


def test_a_job_keeps_no_slot_behind_the_full_one(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [both] = worker.begin_all([train.s()])
    worker.begin_all([render.s()])
    worker.set(both, refused=9)
    worker.end(worker.next())
    assert (worker.job(both).blocked_on, worker.job(both).held) == ("gpu", 0)
    assert worker.limit(SMALL).used == SLOTS - 1


def test_the_slots_that_a_blocked_job_keeps_are_given_back_by_a_cancel(worker: LimitedWorker) -> None:
    held = worker.begin_all([render.s(), ask.s(), ask.s()])
    [both] = worker.begin_all([train.s()])
    worker.set(both, refused=9)
    worker.end(worker.next())  # gpu is free now: it keeps that, while the model is full
    assert worker.statuses(held) == [SUCCEEDED, QUEUED, QUEUED]
    assert (worker.job(both).held, worker.limit("gpu").kept_for) == (1, both)
    cancel(worker, both)
    limits.fill(worker.ledger)
    assert (worker.job(both).held, worker.limit("gpu").used, worker.limit("gpu").kept_for) == (0, 0, None)


def test_tenants_take_turns_whatever_one_of_them_has_in_the_line(worker: LimitedWorker) -> None:
    flood = worker.begin_all([ask.s()] * 8, tenant="flood")
    other = worker.begin_all([ask.s()] * 3, tenant="quiet")
    order = []
    while worker.published:
        claimed = worker.next()
        order.append(claimed.job_id)
        worker.end(claimed)
    first, turns = order[:SLOTS], order[SLOTS : SLOTS + 6]
    assert first == flood[:SLOTS]
    assert sorted(turns) == sorted([*flood[SLOTS : SLOTS + 3], *other])


def test_a_tenant_whose_jobs_were_cancelled_has_no_turn_until_it_comes_again(
    worker: LimitedWorker,
) -> None:
    worker.begin_all([ask.s()] * (SLOTS + 1))
    [gone] = worker.begin_all([ask.s()], tenant="gone")
    cancel(worker, gone)
    limits.enter_unawaited(worker.ledger)
    assert worker.turn(SMALL, "gone").is_idle
    assert not worker.turn(SMALL, "acme").is_idle
    [job] = worker.begin_all([ask.s()], tenant="gone")
    assert not worker.turn(SMALL, "gone").is_idle
    for _ in range(SLOTS):
        worker.end(worker.next())
    assert worker.job(job).status == QUEUED
    assert worker.turn(SMALL, "gone").is_idle


def test_a_job_of_a_higher_priority_comes_a_minute_earlier_for_each_step_of_it(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [low] = worker.begin_all([ask.s()], priority=1)
    [middle] = worker.begin_all([ask.s()])
    [high] = worker.begin_all([ask.s()], priority=5)
    [aged] = worker.begin_all([ask.s()], priority=0)
    worker.age(aged, rank_at=301)
    order = []
    while worker.published:
        claimed = worker.next()
        order.append(claimed.job_id)
        worker.end(claimed)
    assert order[SLOTS:] == [aged, high, middle, low]


@pytest.mark.parametrize(
    "canvas",
    [
        ask.s() | ask.si() | ask.si(),
        split.s() | each(ask.si() | ask.si()) | total.si([]),
        group(split.s() | each(ask.si()), ask.s()) | total.si([]),
    ],
    ids=["a chain", "an each", "a group"],
)
def test_workflows_that_start_at_once_are_finished_one_by_one(worker: LimitedWorker, canvas: Signature) -> None:
    """With the end of a job, its slot goes to a job in the line; the jobs after it come next."""
    workflows = worker.begin_at_once([canvas] * 6)
    begun, finished = set(), []
    while worker.published:
        claimed = worker.next()
        if claimed.step != total.name:
            begun.add(claimed.workflow_id)
        worker.end(claimed, Succeed("[1, 2, 3]"))
        finished += [one for one in begun if worker.workflow(one).finished_at and one not in finished]
        assert len(begun) - len(finished) <= SLOTS + 1
    assert finished == workflows


def test_the_slot_that_a_dying_process_did_not_give_back_a_caretaker_gives_back(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    ended = worker.next()
    with worker.dying():
        worker.end(ended, Fail(FAILURE))
    assert (worker.job(jobs[-1]).status, worker.job(ended.job_id).held) == (BLOCKED, 1)
    limits.fill(worker.ledger)
    assert (worker.job(jobs[-1]).status, worker.job(ended.job_id).held) == (QUEUED, 0)


@pytest.mark.parametrize("is_awaited", [False, True], ids=["by-nobody", "by-another-tenant"])
def test_a_job_whose_start_died_after_its_commit_is_let_in_by_a_caretaker(
    worker: LimitedWorker, is_awaited: bool
) -> None:
    held = worker.begin_all([ask.s()] * (SLOTS + is_awaited))
    with worker.dying():
        [job] = worker.begin_all([ask.s()], tenant="other")
    limits.enter_unawaited(worker.ledger)
    assert worker.job(job).status == BLOCKED
    for _ in held:
        worker.end(worker.next())
    assert worker.job(job).status == QUEUED


def test_a_cancelled_workflow_gives_its_slots_back(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 2))
    worker.next()
    cancel(worker, jobs[0])
    cancel(worker, jobs[2])
    limits.fill(worker.ledger)
    assert worker.job(jobs[3]).status == QUEUED
    assert worker.limit(SMALL).used == SLOTS


def cancel(worker: LimitedWorker, job_id: Any) -> None:
    workflow_id = worker.job(job_id).workflow_id
    worker.ledger.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="enough"))


def keeper(worker: LimitedWorker) -> tuple[Any, Any]:
    """A job that keeps a slot of one limit and waits alone for another, and its workflow."""
    worker.begin_all([render.s(), ask.s(), ask.s()])
    [both] = worker.begin_all([train.s()])
    worker.set(both, refused=9)
    worker.end(worker.next())
    assert (worker.job(both).held, worker.job(both).blocked_on) == (1, SMALL)
    return both, worker.job(both).workflow_id


def test_a_job_that_keeps_slots_runs_after_a_replay_with_all_of_them(worker: LimitedWorker) -> None:
    both, _ = keeper(worker)
    # As a replay leaves it that comes before its slot is given back.
    worker.set(both, status="scheduled", blocked_by=None, blocked_on=None)
    worker.age(both, due_at=1)
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert (worker.job(both).status, worker.job(both).blocked_on) == (BLOCKED, SMALL)
    worker.end(worker.next())
    assert (worker.job(both).status, worker.job(both).held) == (QUEUED, 2)


def test_a_prune_waits_for_slots_that_are_to_be_given_back(worker: LimitedWorker) -> None:
    both, workflow_id = keeper(worker)
    cancel(worker, both)

    def prune() -> set[Any]:
        return worker.ledger.write(lambda tx: retention.delete_workflows(tx, [workflow_id], older_than=-1))

    assert prune() == set()
    limits.fill(worker.ledger)
    assert prune() == {workflow_id}
    assert worker.limit("gpu").used == 0


def test_a_change_of_slots_since_jobs_took_them_explains_more_holders_than_slots(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    worker.ledger.write(lambda tx: moves.redeclare(tx, {"model": Meters(slots=1)}, NO_FILE))
    worker.begin_all([ask.s()])
    assert (worker.limit(SMALL).used, worker.limit(SMALL).declared) == (SLOTS, 1)


def test_numbers_of_the_limits_file_hold_before_the_codes_and_the_code_again_where_they_are_gone(
    worker: LimitedWorker,
) -> None:
    worker.begin_all([ask.s(), ask.s("large")])

    def redeclared(in_file: dict[str, int]) -> tuple[int, int]:
        file = LimitsFile(slots=in_file)
        worker.ledger.write(lambda tx: moves.redeclare(tx, {"model": Meters(slots=SLOTS)}, file))
        return worker.limit(SMALL).declared, worker.limit("model:large").declared

    assert redeclared({"model": 7, "model:large": 9}) == (7, 9)
    assert redeclared({"model:large": 9}) == (SLOTS, 9)
    operations.change(worker.ledger, SMALL, 5, reason="more")
    assert redeclared({"model:small": 8}) == (8, SLOTS)
    small = operations.get(worker.ledger, SMALL)
    assert small.slots == 5
    changed = [(one.before, one.after, one.actor, one.reason.partition(" of ")[0]) for one in small.changes]
    assert changed[-2:] == [(7, SLOTS, "agentq", "the code"), (SLOTS, 7, "agentq", "the limits file")]
    assert changed[0][:2] == (SLOTS, 8)


def test_a_number_that_the_limits_file_repeats_is_from_the_file_and_no_change(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()])

    def source(file: LimitsFile) -> tuple[str | None, str | None, int]:
        worker.ledger.write(lambda tx: moves.redeclare(tx, {"model": Meters(slots=SLOTS)}, file))
        found = operations.get(worker.ledger, SMALL)
        return found.sources.slots, found.declared_sources.slots, len(found.changes)

    assert source(NO_FILE) == ("code", "code", 0)
    assert source(LimitsFile(slots={"model": SLOTS})) == ("file", "file", 0)
    operations.change(worker.ledger, SMALL, 5, reason="more")
    assert source(LimitsFile(slots={"model": SLOTS})) == ("override", "file", 1)
    operations.clear(worker.ledger, SMALL)
    assert source(NO_FILE) == ("code", "code", 2)
