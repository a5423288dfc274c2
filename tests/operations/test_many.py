"""One decision about many: what a filter finds, oldest first, each on its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from agentq.exceptions import InvalidArguments
from agentq.ledger.models import ActionRow, DeadLetterRow
from agentq.operations import dead_letters, jobs, many, workflows
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.jobs import JobFilter
from agentq.operations.workflows import WorkflowFilter
from agentq.states import DeadLetterKind, DeadLetterStatus, JobStatus, WorkflowStatus
from tests.operations.letters import WHO, ask, die, forget_step, refuse_message
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, fail


def ids(found: list[Any]) -> list[str]:
    return [str(item.id) for item in found]


def test_workflows_that_a_filter_finds_are_cancelled_oldest_first_up_to_the_limit(fake: FakeWorker) -> None:
    started = [str(fake.start(add.s(n, 2), tenant="acme").workflow_id) for n in range(3)]
    other = fake.start(add.s(1, 2), tenant="other").workflow_id
    ended = fake.begin(add.s(1, 2))
    fake.succeed(ended, 3)
    wanted = WorkflowFilter(tenant="acme")
    planned = workflows.cancel_all(fake.ledger, wanted, most=2, dry_run=True)
    assert (ids(planned.done), planned.fit) == (started[:2], 3)
    assert {workflow.status for workflow in planned.done} == {WorkflowStatus.RUNNING}
    done = workflows.cancel_all(fake.ledger, wanted, most=2, **WHO)
    assert (ids(done.done), done.fit, done.refused) == (started[:2], 3, [])
    assert {workflow.status for workflow in done.done} == {WorkflowStatus.CANCELLED}
    assert [action.actor for action in workflows.get(fake.ledger, started[0]).actions] == ["ann"]
    assert ids(workflows.cancel_all(fake.ledger, wanted).done) == started[2:]
    assert workflows.cancel_all(fake.ledger, wanted).fit == 0
    assert fake.workflow(other).status == WorkflowStatus.RUNNING
    assert fake.workflow(ended.workflow_id).status == WorkflowStatus.SUCCEEDED


def test_jobs_of_a_step_and_queue_are_cancelled_with_what_needs_them(fake: FakeWorker) -> None:
    first = fake.start(add.s(1, 2).set(queue="slow") | echo.s())
    other = fake.start(add.s(1, 2))
    done = jobs.cancel_all(fake.ledger, JobFilter(step=add.name, queue="slow"), **WHO)
    assert [(job.step, job.status) for job in done.done] == [(add.name, JobStatus.CANCELLED)]
    assert fake.workflow(first.workflow_id).status == WorkflowStatus.CANCELLED
    assert fake.workflow(other.workflow_id).status == WorkflowStatus.RUNNING


def test_jobs_that_end_with_one_before_them_count_as_cancelled(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | add.s(3) | add.s(4))
    done = jobs.cancel_all(fake.ledger, JobFilter(workflow=str(started.workflow_id)))
    assert [job.status for job in done.done] == [JobStatus.CANCELLED] * 3
    assert done.refused == []
    of_workflow = select(func.count()).where(ActionRow.workflow_id == started.workflow_id)
    assert fake.ledger.read(lambda c: c.scalar(of_workflow)) == 2, "one decision: the workflow's and the job's"


def test_jobs_that_failed_are_listed_by_category_and_none_of_them_is_cancelled(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    assert ids(jobs.list_(fake.ledger, JobFilter(category="error"))) == [str(claimed.job_id)]
    assert jobs.count(fake.ledger, JobFilter(category="error")) == 1
    assert jobs.cancel_all(fake.ledger, JobFilter(category="error")).fit == 0


def test_many_dead_letters_are_edited_alike_and_those_that_do_not_fit_say_why(fake: FakeWorker) -> None:
    claimed = [die(fake, ask.s(text, limit=1)) for text in ("one", "two")]
    stranger = die(fake, ask.s("three"))
    forget_step(fake, stranger.job_id)
    done = dead_letters.edit_all(fake.ledger, DeadLetterFilter(), kwargs={"limit": 7}, **WHO)
    assert [letter.job_id for letter in done.done] == [one.job_id for one in claimed]
    assert [jobs.get(fake.ledger, str(one.job_id)).kwargs for one in claimed] == [{"limit": 7}] * 2
    (refused,) = done.refused
    assert "is not known here" in refused.why
    unfit = dead_letters.edit_all(fake.ledger, DeadLetterFilter(step=ask.name), kwargs={"limit": "many"})
    assert (len(unfit.done), len(unfit.refused)) == (0, 3)
    with pytest.raises(InvalidArguments, match="neither args nor kwargs"):
        dead_letters.edit_all(fake.ledger, DeadLetterFilter())


def test_many_dead_jobs_are_given_the_same_result_and_their_workflows_go_on(fake: FakeWorker) -> None:
    claimed = [die(fake, add.s(n, 2) | echo.s()) for n in range(2)]
    asked = die(fake, ask.s("one"))
    done = dead_letters.resolve_all(fake.ledger, DeadLetterFilter(), result=5, **WHO)
    assert [(letter.job_id, letter.status) for letter in done.done] == [
        (one.job_id, DeadLetterStatus.RESOLVED) for one in claimed
    ]
    assert [str(refused.why).count("Nothing was changed") for refused in done.refused] == [1]
    assert fake.job(asked.job_id).status == JobStatus.FAILED
    fake.run(*fake.due())
    assert fake.result(claimed[0].workflow_id) == {"args": [5], "kwargs": {}}


DECISIONS: list[Any] = [
    pytest.param(partial(dead_letters.edit_all, kwargs={"limit": 7}), id="edit"),
    pytest.param(partial(dead_letters.resolve_all, result={"one": 1}), id="resolve"),
    pytest.param(partial(dead_letters.replay_all, most_replays=1), id="replay"),
    pytest.param(partial(dead_letters.cancel_all), id="cancel"),
]


@pytest.mark.parametrize("decide", DECISIONS)
def test_a_dry_run_reports_refusals_and_changes_nothing(fake: FakeWorker, decide: Any) -> None:
    claimed = [die(fake, ask.s(text)) for text in ("one", "two")]
    die(fake, add.s(1, 2))
    before = fake.ledger.read(lambda c: c.execute(select(DeadLetterRow.__table__)).all())
    planned = decide(fake.ledger, DeadLetterFilter(), dry_run=True)
    assert fake.ledger.read(lambda c: c.execute(select(DeadLetterRow.__table__)).all()) == before
    assert fake.ledger.read(lambda c: c.scalar(select(func.count()).select_from(ActionRow))) == 0
    assert {letter.status for letter in planned.done} == {DeadLetterStatus.OPEN}
    done = decide(fake.ledger, DeadLetterFilter(), **WHO)
    assert [letter.job_id for letter in planned.done] == [letter.job_id for letter in done.done]
    assert planned.refused == done.refused
    assert [one.job_id for one in claimed] == [letter.job_id for letter in planned.done][:2]


def test_many_dead_letters_are_cancelled_messages_too(fake: FakeWorker) -> None:
    die(fake, add.s(1, 2))
    message = refuse_message(fake)
    assert ids(dead_letters.cancel_all(fake.ledger, DeadLetterFilter(kind=DeadLetterKind.MESSAGE)).done) == [
        message
    ]
    done = dead_letters.cancel_all(fake.ledger, DeadLetterFilter())
    assert [letter.status for letter in done.done] == [DeadLetterStatus.CANCELLED]
    assert dead_letters.count(fake.ledger, DeadLetterFilter()) == 0


def test_an_outage_half_way_keeps_the_decisions_made(fake: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    started = [fake.start(fail.s("x")).workflow_id for _ in range(3)]
    cancel, calls = workflows.cancel, []

    def break_at_second(*args: Any, **kwargs: Any) -> bool:
        calls.append(args)
        if len(calls) == 2:
            raise OperationalError("select", {}, Exception("gone"))
        return cancel(*args, **kwargs)

    monkeypatch.setattr(workflows, "cancel", break_at_second)
    with pytest.raises(OperationalError):
        workflows.cancel_all(fake.ledger, WorkflowFilter())
    assert [fake.workflow(id_).status for id_ in started] == ["cancelled", "running", "running"]
    assert ids(workflows.cancel_all(fake.ledger, WorkflowFilter()).done) == [str(id_) for id_ in started[1:]]


def test_two_concurrent_cancels_cancel_each_workflow_once(fake: FakeWorker) -> None:
    started = [str(fake.start(add.s(n, 2)).workflow_id) for n in range(20)]
    start = Barrier(2)

    def cancel(actor: str) -> list[str]:
        start.wait()
        return ids(workflows.cancel_all(fake.ledger, WorkflowFilter(), actor=actor).done)

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(cancel, ("ann", "bob")))
    assert sorted(done[0] + done[1]) == started
    for actor, cancelled in zip(("ann", "bob"), done, strict=True):
        for workflow_id in cancelled:
            assert [action.actor for action in workflows.get(fake.ledger, workflow_id).actions] == [actor]


@pytest.mark.parametrize("most", [0, -1, many.MOST_OF_ALL + 1])
def test_a_limit_out_of_bounds_is_refused(fake: FakeWorker, most: int) -> None:
    with pytest.raises(InvalidArguments, match="it must be 1 to 10000"):
        workflows.cancel_all(fake.ledger, WorkflowFilter(), most=most)
