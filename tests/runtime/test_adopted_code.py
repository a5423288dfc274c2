"""Code that was written for plain Celery goes on working: calls, options, canvases, sends by name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult, ResultSet

from agentq import Context, Workflow
from agentq.exceptions import (
    AgentqError,
    BacklogFull,
    CanvasError,
    InvalidArguments,
    StepFailed,
    WorkflowCancelled,
)
from agentq.operations import jobs as job_operations
from agentq.operations import tenants
from agentq.operations import workflows as operations
from agentq.states import JobStatus
from tests.runtime.adopted import add_twice, ask_again, bound, plain_asks_again, retries_never, retries_ten
from tests.runtime.producer import send
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Gates, eventually, redis_server
from tests.support.steps import add, count, fail, meet, plain, total, whoami

INCLUDED = ("-I", "tests.runtime.adopted")


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module."""
    folder: Path = tmp_path_factory.mktemp("adopted")
    with redis_server() as broker, migrated_ledger(database, folder) as url:
        settings = {"lease": 2, "due_interval": 0.1}
        with stack(broker, url, settings=settings, arguments=INCLUDED) as running:
            yield running


def test_the_handle_of_delay_answers_as_celerys_result(at: Stack) -> None:
    result = add.delay(1, 2)
    assert result.get(timeout=20) == 3
    assert (result.ready(), result.successful(), result.failed(), result.state) == (True, True, False, "SUCCESS")


def test_the_handle_shows_running_and_failed_tasks(at: Stack, gates: Gates) -> None:
    held = meet.delay(1, str(gates.folder), "gate")
    gates.await_reached("gate")
    assert (held.ready(), held.successful(), held.failed(), held.state) == (False, False, False, "STARTED")
    gates.open("gate")
    assert held.get(timeout=20) == 1

    failed = fail.apply_async(("no such thing",))
    with pytest.raises(StepFailed, match="no such thing"):
        failed.get(timeout=20)
    assert (failed.ready(), failed.successful(), failed.failed(), failed.state) == (True, False, True, "FAILURE")


def test_a_frozen_signature_of_one_step_starts_under_its_id_once(at: Stack) -> None:
    frozen = add.s(1, 2)
    task_id = frozen.freeze().id
    first, again = frozen.delay(), frozen.apply_async()
    assert (first.get(timeout=20), first, first.is_new, again.is_new) == (3, again, True, False)
    assert [str(job.id) for job in first.jobs()] == [task_id]


def test_an_async_result_of_a_workflow_says_what_to_ask_instead(at: Stack) -> None:
    app, workflow = at.agentq.app, add.delay(1, 2)
    for result in (app.AsyncResult(workflow.id), AsyncResult(workflow.id, app=app)):
        for ask in (lambda: result.state, result.ready, result.get, result.forget):  # noqa: B023
            with pytest.raises(NotImplementedError, match=r"no result backend.*agentq\.workflow\(id\)"):
                ask()


@pytest.mark.parametrize("kind", [ResultSet, partial(GroupResult, "group")])
def test_a_set_of_celerys_results_with_a_workflow_says_what_to_do_instead(at: Stack, kind: Any) -> None:
    with pytest.raises(AttributeError, match=r"'then', which Celery's AsyncResult has.* ask each workflow"):
        kind([add.delay(1, 2)])
    with pytest.raises(AttributeError, match="'Workflow' object has no attribute 'nothing'"):
        _ = add.delay(1, 2).nothing  # type: ignore[attr-defined]


def test_a_chord_takes_its_body_where_it_is_called(at: Stack) -> None:
    header = chord([add.s(1, 2), add.s(3, 4)])
    assert header(total.s()).get(timeout=20) == 10
    assert header.apply_async(kwargs={"body": total.s() | add.s(1)}).get(timeout=20) == 11
    assert "body" not in header.kwargs or header.kwargs["body"] is None


def test_maps_and_chunks_of_a_step_are_refused_where_they_are_called(at: Stack) -> None:
    pairs = [(1, 2), (3, 4)]
    for canvas in (add.starmap(pairs), total.map(pairs), add.chunks(pairs, 1), group(add.starmap(pairs))):
        with pytest.raises(CanvasError, match="cannot be started; use"):
            canvas.apply_async()


def test_a_time_to_wait_that_is_no_number_is_refused(at: Stack) -> None:
    for timeout in ("5", float("nan")):
        with pytest.raises(InvalidArguments, match=r"timeout is .*; it must be seconds"):
            add.delay(1, 2).get(timeout=timeout)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["countdown", "eta"])
def test_countdown_and_eta_are_honoured(at: Stack, option: str) -> None:
    not_before = datetime.now(UTC) + timedelta(seconds=1)
    result = add.apply_async((1, 2), **{option: 1 if option == "countdown" else not_before})
    assert result.get(timeout=20) == 3
    (job,) = result.jobs()
    assert job.started_at is not None
    assert job.started_at >= not_before


def test_a_task_that_expired_before_it_ran_is_revoked(at: Stack) -> None:
    result = add.apply_async((1, 2), queue="nobody-listens", expires=0.1)
    with pytest.raises(WorkflowCancelled, match="expire"):
        result.get(timeout=20)
    assert result.state == "REVOKED"
    assert [(job.status, job.attempt) for job in result.jobs()] == [(JobStatus.CANCELLED, 0)]


def test_a_link_runs_with_the_result(at: Stack) -> None:
    result = add.apply_async((1, 2), link=add_twice.s(10))
    assert result.get(timeout=20) == 3
    eventually(lambda: all(job.finished_at for job in result.jobs()), what="the linked step's end")
    assert {(job.step, job.result) for job in result.jobs()} >= {(add.name, 3), (add_twice.name, 23)}


def test_the_callers_task_id_is_the_job_id(at: Stack) -> None:
    task_id = str(uuid.uuid4())
    result = add.apply_async((1, 2), task_id=task_id)
    assert [str(job.id) for job in result.jobs()] == [task_id]
    assert result.get(timeout=20) == 3


CANVASES = {
    "chain": (chain(add.s(1, 2), add.s(3)), 6),
    "pipe": (add.s(1, 2) | plain.s(), 3),
    "group": (group(add.s(1, 2), plain.s(4)), [3, 4]),
    "chord": (chord([add.s(1, 2), add.s(3, 4)], total.s()), 10),
}


@pytest.mark.parametrize("name", CANVASES)
@pytest.mark.parametrize("how", ["delay", "apply_async"])
def test_a_canvas_that_holds_steps_starts_a_workflow(at: Stack, name: str, how: str) -> None:
    canvas, expected = CANVASES[name]
    workflow = getattr(canvas, how)()
    assert isinstance(workflow, Workflow)
    assert workflow.get(timeout=20) == expected


@pytest.mark.parametrize("name", CANVASES)
def test_with_options_it_is_refused(at: Stack, name: str) -> None:
    before = workflows_in(at)
    with pytest.raises(CanvasError, match="countdown"):
        CANVASES[name][0].apply_async(countdown=1)
    assert workflows_in(at) == before


def test_a_canvas_of_plain_tasks_stays_celerys(at: Stack) -> None:
    before = workflows_in(at)
    result = chain(plain.s(1), plain.s()).apply_async()
    assert isinstance(result, AsyncResult)
    for task_id in (result.parent.id, result.id):
        eventually(lambda: f"Task tests.plain[{task_id}] succeeded" in at.worker.log(), 20)  # noqa: B023
    assert workflows_in(at) == before


def test_a_send_by_name_is_adopted_and_runs_once(at: Stack, gates: Gates) -> None:
    task_id = str(uuid.uuid4())
    args = [["x", str(gates.folder), "body"]]
    for _ in range(2):
        assert send(at.broker, kind="task", names=[count.name], args=args, task_id=task_id) == task_id
    job = eventually(lambda: done(at, task_id), 20, what="the adopted job's end")
    eventually(lambda: f"job={task_id}] is " in at.worker.log(), 20, what="the second message's end")
    assert (job.step, job.result, job.attempt) == (count.name, "x", 1)
    assert gates.reached("body") == 1
    assert len(at.agentq.workflow(str(job.workflow_id)).jobs()) == 1


def test_a_send_by_name_runs_where_its_tenant_has_no_room(at: Stack) -> None:
    tenants.set_max_open(at.agentq.ledger, "default", 0)
    try:
        with pytest.raises(BacklogFull):
            add.delay(1, 2)
        task_id = send(at.broker, kind="task", names=[add.name], args=[[1, 2]])
        assert eventually(lambda: done(at, task_id), 20, what="the adopted job's end").result == 3
    finally:
        tenants.clear_max_open(at.agentq.ledger, "default")


def test_a_native_chain_by_names_becomes_one_workflow(at: Stack) -> None:
    before = workflows_in(at)
    first = send(at.broker, kind="chain", names=[add.name, add.name], args=[[1, 2], [3]])
    job = eventually(lambda: done(at, first), 20, what="the first job's end")
    workflow: Workflow[int] = at.agentq.workflow(str(job.workflow_id))
    assert workflow.result(20) == 6
    assert sorted((job.step, job.result) for job in workflow.jobs()) == [(add.name, 3), (add.name, 6)]
    assert workflows_in(at) == before + 1


def test_a_step_in_a_native_chord_is_refused_and_the_worker_lives(at: Stack) -> None:
    before = workflows_in(at)
    names = [add.name, add.name, "tests.plain"]
    task_id = send(at.broker, kind="chord", names=names, args=[[1, 2], [3, 4], []])
    refusal = f"step {add.name!r} was sent in a native chord; start it with agentq.start()"
    eventually(lambda: refusal in at.worker.log() and task_id in at.worker.log(), 20, what="the refusal")
    assert workflows_in(at) == before
    assert add.delay(1, 2).get(timeout=20) == 3
    assert at.worker.is_alive


def test_plain_tasks_join_a_canvas(at: Stack) -> None:
    workflow = at.agentq.start(add.s(1, 2) | plain.s() | bound.s() | plain.s())
    jobs = workflow.jobs()
    assert workflow.result(20) == [3, "tests.bound", str(jobs[2].id)]


def test_self_retry_gives_another_attempt(at: Stack) -> None:
    workflow = ask_again.delay("x")
    assert workflow.get(timeout=20) == ["x", 2]
    (job,) = workflow.jobs()
    attempts = job_operations.get(at.agentq.ledger, str(job.id)).attempts
    assert [(each.number, each.outcome, each.error_message) for each in attempts] == [
        (1, "retried", "not yet"),
        (2, "succeeded", None),
    ]


def test_a_plain_tasks_own_retry_is_another_attempt_and_no_second_message(at: Stack, tmp_path: Path) -> None:
    workflow = at.agentq.start(plain_asks_again.s(str(tmp_path / "runs")))
    assert workflow.result(20) == 2
    assert [job.attempt for job in workflow.jobs()] == [2]


@pytest.mark.parametrize(("task", "attempts"), [(retries_ten, 11), (retries_never, 1)])
def test_a_plain_task_is_tried_as_often_as_it_says(at: Stack, task: Any, attempts: int) -> None:
    workflow = at.agentq.start(add.s(1, 2) | task.si("engaged"))
    with pytest.raises(StepFailed, match="engaged"):
        workflow.result(60)
    assert [job.attempt for job in workflow.jobs() if job.step == task.name] == [attempts]


def test_a_step_calls_another_as_a_function(at: Stack) -> None:
    workflow = add_twice.delay(1, 2)
    assert workflow.get(timeout=20) == 5
    assert len(workflow.jobs()) == 1


def test_a_step_with_a_context_is_called_as_a_function() -> None:
    ids = {"workflow_id": "w", "job_id": "j", "step": "s", "tenant": "acme"}
    said = whoami(Context(**ids, attempt=1, max_attempts=4, deadline=None), "x")
    assert said.items() >= {**ids, "attempt": 1, "value": "x"}.items()


def workflows_in(at: Stack) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter())


def done(at: Stack, task_id: str) -> Any:
    try:
        job = job_operations.get(at.agentq.ledger, task_id)
    except AgentqError:
        return None
    return job if job.status == JobStatus.SUCCEEDED else None
