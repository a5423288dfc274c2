"""The outcome of a failed attempt, in real workers: by the policy, the provider or the step itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from sqlalchemy import select

from agentq import Workflow, rule
from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.operations import dead_letters
from agentq.operations.schemas import Attempt, DeadLetterSummary
from agentq.policies import DEFAULT
from agentq.states import JobStatus, WorkflowStatus
from tests.policies.server import Answer, provider
from tests.runtime import retry_steps as steps
from tests.runtime.queries import history, job_of
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Broker, Gates, Worker, client, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, kill_itself

INCLUDED = ("-I", "tests.runtime.retry_steps")
ATTEMPTS = DEFAULT.attempts
CONNECT_SOON = rule("retry", category="connection", schedule=steps.SOON)
Servers = Any


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module."""
    folder: Path = tmp_path_factory.mktemp("retries")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, settings={"lease": 2}, arguments=INCLUDED) as running,
    ):
        yield running


@pytest.fixture
def serve() -> Iterator[Servers]:
    """Run servers that give one answer each; returns their URLs."""
    with ExitStack() as stack:

        def run(*answers: Answer) -> list[str]:
            servers = [stack.enter_context(provider()) for _ in answers]
            for server, answer in zip(servers, answers, strict=True):
                server.answer = answer
            return [server.url for server in servers]

        yield run


def failed(workflow: Workflow[Any]) -> Attempt:
    """Wait for the failure of a workflow of one step and return the step's last attempt."""
    with pytest.raises(StepFailed):
        workflow.result(20)
    job = job_of(workflow)
    assert job.status == JobStatus.FAILED
    assert job.error_message == job.attempts[-1].error_message
    return job.attempts[-1]


def letters_of(at: Stack, workflow: Workflow[Any]) -> list[DeadLetterSummary]:
    return dead_letters.list_(at.agentq.ledger, dead_letters.DeadLetterFilter(workflow=workflow.id))


def row_of(at: Stack, workflow: Workflow[Any]) -> AnyRow:
    query = select(JobRow.__table__).where(JobRow.id == job_of(workflow).id)
    return at.agentq.ledger.read(lambda connection: connection.execute(query).one())


def started(attempt: Attempt) -> datetime:
    assert attempt.started_at is not None
    return attempt.started_at


class TestPolicy:
    def test_a_rate_limit_defers_the_job_and_costs_no_attempt(self, at: Stack, serve: Servers) -> None:
        busy = Answer(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        workflow = at.agentq.start(steps.ask.s(serve(busy, Answer())))
        assert workflow.result(20) == [2, ATTEMPTS + 1], "the number grows, and with it the allowance"
        first, second = job_of(workflow).attempts
        assert (first.outcome, first.error_category, first.error_status) == ("retried", "rate_limit", 429)
        assert started(second) - started(first) >= timedelta(seconds=1)
        row = row_of(at, workflow)
        assert (row.waits, row.uncounted, row.paused) == (1, 1, 0)
        assert 1 <= row.waited <= 2
        assert row.due_reason == f"rate_limit: deferred, as the provider asked (deferral 1 of {DEFAULT.deferrals})"

    def test_a_permanent_error_is_a_dead_letter_at_once(self, at: Stack, serve: Servers) -> None:
        workflow = at.agentq.start(steps.ask.s(serve(Answer(401))))
        assert failed(workflow).error_category == "authentication"
        (letter,) = letters_of(at, workflow)
        assert (letter.attempts, letter.needs_person) == (1, False)

    def test_ask_marks_the_dead_letter_for_a_person(self, at: Stack, serve: Servers) -> None:
        workflow = at.agentq.start(steps.pay.s(*serve(Answer(402))))
        assert failed(workflow).error_category == "quota_exhausted"
        (letter,) = letters_of(at, workflow)
        assert (letter.attempts, letter.needs_person) == (1, True)

    def test_a_due_job_starts_within_a_second(self, at: Stack) -> None:
        workflows = [at.agentq.start(steps.again_after.s(1 + number / 10)) for number in range(9)]
        assert [workflow.result(20) for workflow in workflows] == [2] * 9
        rows = [row_of(at, workflow) for workflow in workflows]
        late = [(row.started_at - row.due_at).total_seconds() for row in rows]
        assert min(late) >= 0
        assert median(late) < 1

    def test_the_history_shows_the_providers_answer_and_no_local_variable(self, at: Stack, serve: Servers) -> None:
        body = {"error": {"message": "slow down", "code": "rate_limit_exceeded", "type": "requests"}}
        workflow = at.agentq.start(
            steps.complete.s(*serve(Answer(429, body, {"x-request-id": "req-7"})), "J. Doe")
        )
        said = failed(workflow)
        assert (said.error_provider, said.error_status) == ("openai", 429)
        assert (said.error_code, said.error_request_id) == ("rate_limit_exceeded", "req-7")
        assert (said.error_category, said.error_class) == ("rate_limit", "openai.RateLimitError")
        assert "slow down" in (said.error_message or "")
        trace = said.error_traceback or ""
        assert "in complete" in trace
        assert "J. Doe" not in trace
        assert steps.SECRET not in trace


class TestDirectives:
    def test_retry_after_a_time_of_its_own_burns_an_attempt(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.again_after.s(1))
        assert workflow.result(20) == 2
        job = job_of(workflow)
        first, second = job.attempts
        assert (job.attempt, job.max_attempts) == (2, ATTEMPTS)
        assert (first.error_class, first.error_message) == ("agentq.exceptions.Retry", "not yet")
        assert started(second) - started(first) >= timedelta(seconds=1)
        row = row_of(at, workflow)
        assert (row.waits, row.paused) == (0, 0), "no pause of the policy's"
        assert row.due_reason == f"the step asked for it: attempt 2 of {ATTEMPTS}"

    @pytest.mark.parametrize("empty", [False, True], ids=["an error", "one without a truth value"])
    def test_retry_from_an_error_has_that_errors_category_and_pause(self, at: Stack, empty: bool) -> None:
        workflow = at.agentq.start(steps.again_from.s(empty))
        assert workflow.result(20) == 2
        first = job_of(workflow).attempts[0]
        assert first.error_category == "connection"
        assert (first.error_message or "").startswith("try the other line (")
        assert "engaged" in (first.error_message or "")
        assert row_of(at, workflow).paused == pytest.approx(0.01)

    def test_retry_ends_with_the_attempts(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.again_and_again.s())
        failed(workflow)
        assert history(workflow) == ["retried", "failed"]

    def test_dead_letter_now_keeps_its_reason(self, at: Stack, serve: Servers) -> None:
        plain = at.agentq.start(steps.dead_letter.s("an empty page"))
        caused = at.agentq.start(steps.dead_letter.s("an empty page", *serve(Answer(503))))
        assert failed(plain).error_message == "an empty page"
        said = failed(caused)
        assert (said.error_category, said.error_status) == ("overloaded", 503)
        assert (said.error_message or "").startswith("an empty page (urllib.error.HTTPError: ")
        for workflow in (plain, caused):
            (letter,) = letters_of(at, workflow)
            assert (letter.attempts, letter.error_class) == (1, job_of(workflow).error_class)

    def test_cancel_cancels_the_workflow_and_leaves_no_dead_letter(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.cancel_itself.s("the author took it back") | add.si(1, 2))
        with pytest.raises(WorkflowCancelled, match="the author took it back"):
            workflow.result(20)
        assert workflow.status == WorkflowStatus.CANCELLED
        assert {job.status for job in workflow.jobs()} == {JobStatus.CANCELLED}
        assert [job.attempt for job in workflow.jobs()] == [1, 0]
        assert history(workflow) == ["cancelled"]
        assert letters_of(at, workflow) == []


class TestCelery:
    @pytest.mark.parametrize("countdown", [1, "1"])
    def test_celerys_retry_in_a_step_is_another_attempt_after_its_countdown(
        self, at: Stack, gates: Gates, countdown: object
    ) -> None:
        workflow = at.agentq.start(steps.celery_retry.s(str(gates.folder), countdown), retry=CONNECT_SOON)
        assert workflow.result(20) == 2
        first, second = job_of(workflow).attempts
        assert (first.error_category, first.error_message) == ("connection", "engaged (line 2)")
        assert first.error_class == "tests.runtime.retry_steps.Unpicklable"
        assert started(second) - started(first) >= timedelta(seconds=1)

    def test_celerys_retry_in_a_plain_task_is_another_attempt(self, at: Stack, gates: Gates) -> None:
        workflow = at.agentq.start(steps.plain_retry.s(str(gates.folder), 1), retry=CONNECT_SOON)
        assert workflow.result(20) == 2
        first, second = job_of(workflow).attempts
        assert started(second) - started(first) >= timedelta(seconds=1)

    @pytest.mark.parametrize("countdown", [-1, "soon"])
    def test_a_countdown_that_is_none_loses_nothing(self, at: Stack, gates: Gates, countdown: object) -> None:
        workflow = at.agentq.start(steps.celery_retry.s(str(gates.folder), countdown), retry=CONNECT_SOON)
        assert workflow.result(20) == 2
        assert history(workflow) == ["retried", "succeeded"]

    def test_a_countdown_beyond_all_times_is_kept(self, at: Stack, gates: Gates) -> None:
        workflow = at.agentq.start(steps.celery_retry.s(str(gates.folder), 1e300))
        eventually(lambda: job_of(workflow).status == JobStatus.SCHEDULED, 20, what="a job that waits")
        assert history(workflow) == ["retried"]
        assert workflow.cancel(reason="nobody has so much time")

    def test_ignore_cancels(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.celery_ignore.s())
        with pytest.raises(WorkflowCancelled, match="Ignore"):
            workflow.result(20)
        assert letters_of(at, workflow) == []

    def test_reject_with_requeue_is_another_attempt(self, at: Stack, gates: Gates) -> None:
        workflow = at.agentq.start(steps.celery_reject.s(str(gates.folder), True))
        assert workflow.result(20) == 2
        assert history(workflow) == ["retried", "succeeded"]

    def test_reject_is_a_dead_letter(self, at: Stack, gates: Gates) -> None:
        workflow = at.agentq.start(steps.celery_reject.s(str(gates.folder), False))
        assert failed(workflow).error_class == "celery.exceptions.Reject"
        assert len(letters_of(at, workflow)) == 1


class TestOfOneWorkflow:
    def test_a_policy_replaces_those_of_its_steps(self, at: Stack) -> None:
        twice = rule("retry", category="connection", schedule=steps.SOON, limit=2)
        none = at.agentq.start(steps.engaged.s(1), retry="none")
        soon = at.agentq.start(steps.engaged.s(2), retry=[twice])
        failed(none)
        failed(soon)
        assert (history(none), history(soon)) == (["failed"], ["retried", "failed"])

    def test_the_workflows_policy_decides_a_lost_attempt_too(self, at: Stack) -> None:
        workflow = at.agentq.start(kill_itself.s("x", 1), retry="none")
        assert failed(workflow).error_category == "worker_lost"
        assert history(workflow) == ["lost"]

    def test_the_deadline_ends_a_job_in_a_pause_too(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.again_after.s(3600), deadline=1)
        with pytest.raises(WorkflowCancelled, match="deadline"):
            workflow.result(20)
        (job,) = workflow.jobs()
        assert job.finished_at is not None
        assert timedelta(seconds=1) <= job.finished_at - job.created_at < timedelta(seconds=10)
        assert history(workflow) == ["retried"]


class TestTexts:
    @pytest.mark.parametrize("text", steps.TEXTS)
    def test_any_text_is_stored_bounded_and_without_secrets(self, at: Stack, text: str) -> None:
        for each, attempts in ((steps.say, 1), (steps.say_and_ask_again, 2)):
            workflow = at.agentq.start(each.s(text))
            said = failed(workflow)
            assert said.number == attempts
            stored = f"{said.error_message}{said.error_traceback}{row_of(at, workflow).due_reason}"
            assert 0 < len(said.error_message or "") <= 4_000
            assert not any(part in stored for part in ("\x00", "\ud800", steps.SECRET))

    @pytest.mark.parametrize("how", ["error", "retry"])
    def test_an_error_without_words_is_stored(self, at: Stack, how: str) -> None:
        said = failed(at.agentq.start(steps.say_nothing.s(how)))
        assert "__str__ raises RuntimeError" in (said.error_message or "")

    def test_a_cancel_without_words_cancels(self, at: Stack) -> None:
        workflow = at.agentq.start(steps.say_nothing.s("cancel"))
        with pytest.raises(WorkflowCancelled, match="__str__ raises RuntimeError"):
            workflow.result(20)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
@covers(Fault.BROKER_DOWN, Phase.RETRY)
def test_a_retry_that_is_asked_for_without_a_broker_is_not_lost(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with (
        client(redis_broker, ledger_url) as agentq,
        Worker(redis_broker, ledger_url, concurrency=1, settings={"redispatch_after": 1}, arguments=INCLUDED),
    ):
        workflow = agentq.start(steps.again_behind.s(str(gates.folder)))
        gates.await_reached("gate")
        redis_broker.kill()
        gates.open("gate")
        eventually(lambda: history(workflow) == ["retried"], 20, what="the failure in the ledger")
        eventually(lambda: job_of(workflow).status == JobStatus.QUEUED, 20, what="a due job")
        redis_broker.start()
        assert workflow.result(30) == 2
        assert history(workflow) == ["retried", "succeeded"]
