"""Workflows in the test's own process: the path of production, without its services and its time."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, current_app, group, signals
from sqlalchemy import text
from sqlalchemy.orm import Session

import agentq
from agentq import Context, each, step
from agentq.exceptions import (
    ConfigurationError,
    DefinitionError,
    InvalidArguments,
    InvalidResult,
    NotFound,
    ResultTimeout,
    StepFailed,
    WorkflowCancelled,
)
from agentq.ledger.audit.audit import audit
from agentq.operations import dead_letters
from agentq.operations.schemas import DeadLetter
from agentq.runtime.attempt.lease import current_lease
from agentq.states import JobStatus, WorkflowStatus
from agentq.steps.parameters import Parameters
from agentq.testing import assert_dead_letter, assert_succeeded, assert_waiting_for
from agentq.testing.inline import Inline
from tests.support.steps import add, echo, later, numbers, plain, total, whoami

DAY = timedelta(days=1)


@step
def double(x: int) -> int:
    return 2 * x


@step
def start_another(x: int) -> int:
    return agentq.start(double.s(x)).get(10, disable_sync_subtasks=False)  # type: ignore[no-any-return]


@step
def is_wanted(ctx: Context) -> bool:
    return not ctx.cancelled


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound."""
    yield
    assert agentq_inline.ledger.read(audit) == []


class TestRunning:
    def test_no_job_runs_before_a_call_of_run(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(add.s(1, 2))
        assert_waiting_for(workflow, "a free worker on queue 'celery'", add)
        assert agentq_inline.run() == 1
        assert assert_succeeded(workflow) == 3
        assert agentq_inline.run() == 0

    def test_a_fan_out_and_its_fan_in(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(numbers.s(4) | each(double.s()) | total.s())
        assert agentq_inline.run() == 6
        assert assert_succeeded(workflow) == 12

    @pytest.mark.parametrize("timeout", [None, 0, 10])
    def test_a_result_that_is_asked_for_is_brought_about(
        self, agentq_inline: Inline, timeout: float | None
    ) -> None:
        assert agentq.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).result(timeout) == 10
        assert add.delay(5, 6).get(timeout) == 11

    def test_a_result_that_no_longer_fits_is_an_error_with_the_next_step(
        self, agentq_inline: Inline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workflow = agentq.start(add.s(1, 2))
        agentq_inline.run()

        def changed() -> list[int]: ...

        monkeypatch.setattr(add, "parameters", Parameters(add.name, changed))
        for ask in (workflow.result, workflow.get, lambda: asyncio.run(workflow.aresult())):
            with pytest.raises(InvalidResult, match=f"valid array.*kept as it was.*{workflow.id}"):
                ask()

    def test_plain_tasks_and_coroutines_are_steps_too(self, agentq_inline: Inline) -> None:
        assert agentq.start(plain.s(1) | later.s() | echo.s()).result(5) == {"args": [1], "kwargs": {}}

    def test_the_attempt_has_its_context(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(whoami.s(), tenant="acme")
        said = workflow.result(0)
        assert (said["workflow_id"], said["tenant"], said["attempt"]) == (workflow.id, "acme", 1)
        assert said["pid"] == os.getpid()
        assert agentq.start(is_wanted.s()).result(0) is True

    def test_a_step_may_start_and_await_another_workflow(self, agentq_inline: Inline) -> None:
        assert agentq.start(start_another.s(4)).result(0) == 8

    def test_a_start_in_another_thread_is_seen(self, agentq_inline: Inline) -> None:
        started: list[Any] = []
        thread = threading.Thread(target=lambda: started.append(agentq_inline.agentq.start(add.s(1, 2))))
        thread.start()
        thread.join()
        assert started[0].result(0) == 3

    def test_celerys_signals_are_sent_as_in_a_worker(self, agentq_inline: Inline) -> None:
        seen: list[str] = []

        def note(sender: Any = None, task_id: str = "", **_: Any) -> None:
            seen.append(f"{sender.name} {task_id}")

        signals.task_prerun.connect(note)
        workflow = agentq.start(add.s(1, 2))
        agentq_inline.run()
        assert seen == [f"{add.name} {workflow.jobs()[0].id}"]

    def test_a_session_of_the_test_joins_in(self, agentq_inline: Inline) -> None:
        engine = agentq_inline.ledger.engine
        with Session(engine) as session:
            session.execute(text("CREATE TABLE orders (id INTEGER)"))
            undone = agentq.start(add.s(1, 2), session=session)
            session.rollback()
            session.execute(text("CREATE TABLE orders (id INTEGER)"))
            kept = agentq.start(add.s(3, 4), session=session)
            session.commit()
        assert kept.result(0) == 7
        with pytest.raises(NotFound):
            undone.result(0)


class TestTime:
    def test_a_delay_is_waited_for_without_waiting(self, agentq_inline: Inline) -> None:
        due = agentq_inline.now + DAY
        workflow = agentq.start(add.s(1, 2), not_before=due)
        assert agentq_inline.run() == 0
        assert_waiting_for(workflow, "its time")
        agentq_inline.advance(DAY - timedelta(minutes=1))
        assert workflow.status is WorkflowStatus.RUNNING
        agentq_inline.advance(60)
        assert_succeeded(workflow)
        (job,) = workflow.jobs()
        assert job.started_at is not None
        assert due <= job.started_at < due + timedelta(seconds=30)

    def test_jobs_that_become_due_on_the_way_run_at_their_time(self, agentq_inline: Inline) -> None:
        agentq_inline.fail(add, agentq.Retry(after=3600), times=2)
        workflow = agentq.start(add.s(1, 2))
        agentq_inline.advance(DAY)
        assert_succeeded(workflow)
        (job,) = workflow.jobs()
        assert job.finished_at is not None
        assert timedelta(hours=2) <= job.finished_at - job.created_at < timedelta(hours=2, minutes=1)

    def test_a_result_takes_the_ledgers_time_not_the_tests(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(add.s(1, 2), not_before=datetime.now(UTC) + DAY)
        with pytest.raises(ResultTimeout, match=r"not end within 3600 s(?s:.*)its time, "):
            workflow.result(3600)
        assert workflow.result() == 3
        assert agentq_inline.now - datetime.now(UTC) > timedelta(hours=23)

    def test_a_workflow_that_nothing_brings_to_its_end_says_so_at_once(self, agentq_inline: Inline) -> None:
        agentq_inline.stub(add, lambda x, y: pytest.fail("interrupted"))
        workflow = agentq.start(add.s(1, 2))
        with pytest.raises(pytest.fail.Exception):
            agentq_inline.run()
        with pytest.raises(ResultTimeout, match=r"whatever time passes(?s:.*)running"):
            workflow.result()

    def test_a_deadline_and_an_expiry_come_with_the_clock(self, agentq_inline: Inline) -> None:
        agentq_inline.fail(add, ConnectionError("engaged"))
        late = agentq.start(add.s(1, 2), deadline=1)
        expired = add.apply_async((1, 2), countdown=7200, expires=3600)
        agentq_inline.advance(2 * 3600)
        with pytest.raises(WorkflowCancelled, match="deadline"):
            late.result(0)
        with pytest.raises(WorkflowCancelled, match="expired"):
            expired.result(0)

    @pytest.mark.parametrize("by", [-1, timedelta(days=-1), float("nan")])
    def test_the_clock_does_not_go_back(self, agentq_inline: Inline, by: Any) -> None:
        with pytest.raises(InvalidArguments, match="seconds from 0 up"):
            agentq_inline.advance(by)


class TestStubs:
    def test_a_result_in_place_of_the_function(self, agentq_inline: Inline) -> None:
        combined = agentq_inline.stub(total, 100)
        assert agentq.start(numbers.s(3) | total.s() | double.s()).result(0) == 200
        combined.assert_called_once_with([0, 1, 2])

    def test_a_function_in_its_place_gets_what_the_step_would(self, agentq_inline: Inline) -> None:
        agentq_inline.stub(whoami.name, lambda ctx, value: {"attempt": ctx.attempt, "value": value})
        assert agentq.start(whoami.s("x")).result(0) == {"attempt": 1, "value": "x"}

    def test_a_plain_task(self, agentq_inline: Inline) -> None:
        agentq_inline.stub(plain, 7)
        assert agentq.start(plain.s(1)).result(0) == 7

    def test_a_value_that_does_not_fit_the_annotation_is_no_result(self, agentq_inline: Inline) -> None:
        agentq_inline.stub(double, "many")
        workflow = agentq.start(double.s(1))
        with pytest.raises(StepFailed, match=InvalidResult.__name__):
            workflow.result(0)
        ((attempt,),) = (job.attempts for job in workflow.jobs())
        assert attempt.error_traceback is None, "agentq's own frames say nothing to who wrote the step"

    def test_a_step_fails_the_given_times_and_then_runs(self, agentq_inline: Inline) -> None:
        asked = agentq_inline.fail(double, ConnectionError("engaged"), times=2)
        workflow = agentq.start(double.s(2))
        agentq_inline.run()
        job = assert_waiting_for(workflow, "its time", double)
        assert (job.attempt, job.error_message) == (1, "engaged")
        assert workflow.result() == 4
        assert asked.call_count == 3

    def test_failures_before_a_stub(self, agentq_inline: Inline) -> None:
        agentq_inline.stub(double, 5)
        agentq_inline.fail(double, ConnectionError, times=1)
        assert agentq.start(double.s(1)).result() == 5

    def test_an_unknown_step_name_is_refused(self, agentq_inline: Inline) -> None:
        with pytest.raises(DefinitionError, match=r"'tests.plan'.*Did you mean 'tests.plain'"):
            agentq_inline.stub("tests.plan", 1)


class TestEnds:
    def test_a_dead_letter_is_handled_and_replayed(
        self, agentq_inline: Inline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agentq.runtime.entry.dead_letters._handlers", {})
        handled: list[DeadLetter] = []
        agentq.on_dead_letter(handled.append)
        agentq_inline.fail(double, PermissionError("closed"), times=1)
        workflow = agentq.start(add.s(1, 2) | double.s() | echo.s())
        agentq_inline.run()
        letter = assert_dead_letter(workflow, double, error="closed")
        assert [each.id for each in handled] == [letter.id]
        dead_letters.replay(agentq_inline.ledger, str(letter.id), delay=3600)
        assert workflow.result(3601) == {"args": [6], "kwargs": {}}
        assert workflow.dead_letters() == []

    def test_an_interrupted_dead_letter_is_handled_again(
        self, agentq_inline: Inline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("agentq.runtime.entry.dead_letters._handlers", {})
        handled: list[DeadLetter] = []

        @agentq.on_dead_letter
        def report(letter: DeadLetter) -> None:
            handled.append(letter)
            if len(handled) == 1:
                pytest.fail("interrupted")

        agentq_inline.fail(double, PermissionError("closed"))
        workflow = agentq.start(double.s(1))
        with pytest.raises(pytest.fail.Exception):
            agentq_inline.run()
        agentq_inline.advance(60)
        letter = assert_dead_letter(workflow)
        assert [each.id for each in handled] == [letter.id, letter.id]

    def test_a_cancel_before_it_ran(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(add.s(1, 2) | double.s())
        assert workflow.cancel("not needed")
        assert agentq_inline.run() == 1, "the message came, and was dropped"
        with pytest.raises(WorkflowCancelled, match="not needed"):
            workflow.result(0)

    def test_a_cancel_while_it_runs(self, agentq_inline: Inline) -> None:
        workflow = agentq.start(add.s(1, 2) | double.s())
        agentq_inline.stub(add, lambda x, y: workflow.cancel("changed my mind") and x)
        agentq_inline.run()
        assert {job.status for job in workflow.jobs()} == {JobStatus.CANCELLED}


class TestPuttingBack:
    def test_the_app_is_as_it_was(
        self, agentq_app: Celery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        app = Celery("other", broker="redis://nowhere.invalid")
        own = agentq.AgentQ(app, tenant="acme")
        assert own.settings.tenant == "acme"
        assert own.limits_file.path is None
        before, current = dict(vars(own)), current_app._get_current_object()
        with Inline(app) as inline:
            inline.stub(double, 1)
            first = agentq.start(double.s(2))
            assert first.result(0) == 1
        with Inline(app) as inline:
            assert agentq.start(double.s(2)).result(0) == 4
            with pytest.raises(NotFound):
                own.workflow(first.id).result(0)
        assert vars(own) == before
        assert current_app._get_current_object() is current
        assert list(tmp_path.iterdir()) == [], "the embedded default was left alone"
        app.close()

    def test_the_inline_run_leaves_no_worker_row(self, agentq_app: Celery) -> None:
        app = Celery("third", broker="redis://nowhere.invalid", set_as_current=False)
        agentq.AgentQ(app)
        with Inline(app):
            current_lease()
        with pytest.raises(ConfigurationError, match="has no caretaker"):
            current_lease()
        app.close()
