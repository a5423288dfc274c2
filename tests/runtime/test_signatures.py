"""A worker whose step takes other arguments, as that of another release, leaves the job for one that fits."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from agentq import AgentQ
from agentq.exceptions import StepFailed
from agentq.operations import dead_letters, health, jobs
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.health import Finding, Level
from agentq.operations.schemas import Job
from agentq.runtime.workflow import Workflow
from agentq.states import AttemptOutcome, JobKind, JobStatus
from tests.runtime import released
from tests.runtime.queries import ledger_time, require_sound
from tests.runtime.released import NEWER, OLDER
from tests.runtime.releases import OLDER_RESULTS, RESULTS
from tests.support import Broker, Gates, client, eventually

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


worker_of = partial(released.worker_of, "tests.runtime.releases")
start = partial(released.start, "tests.runtime.releases")


def last_job(workflow: Workflow[Any]) -> Job:
    return workflow.jobs()[-1]


def await_left(workflow: Workflow[Any], waits_for: str) -> None:
    eventually(lambda: waits_for in (last_job(workflow).waiting_for or ""), 20, what="a job that is left")


def counted(job: Job) -> int:
    """The number of attempts at a job that count."""
    return sum(attempt.outcome != AttemptOutcome.RELEASED for attempt in job.attempts)


def findings(app: AgentQ) -> list[Finding]:
    """The finding of ``agentq check`` on jobs that were left for their arguments."""
    return [finding for finding in health.examine(app.ledger) if "left for their arguments" in finding.what]


def no_letters(app: AgentQ) -> bool:
    return dead_letters.list_(app.ledger, DeadLetterFilter(status=None)) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("starter", "steps", "results"),
    [
        (NEWER, ("added", "removed", "retyped", "fed", "plain"), RESULTS),
        (OLDER, ("required", "removed", "retyped", "narrowed"), OLDER_RESULTS),
    ],
)
def test_arguments_of_another_release_wait_for_a_worker_of_that_release(
    redis_broker: Broker, ledger_url: str, starter: str, steps: tuple[str, ...], results: dict[str, Any]
) -> None:
    other = OLDER if starter == NEWER else NEWER
    with client(redis_broker, ledger_url) as app:
        workflows = start(redis_broker, app, starter, *steps)
        with worker_of(other, redis_broker, ledger_url) as unfit:
            for name, workflow in zip(steps, workflows, strict=True):
                kind = last_job(workflow).kind
                await_left(workflow, f"a worker whose {kind} 'releases.{name}' takes these arguments: ")
                await_left(workflow, "; no live worker takes them; 1 live worker was asked")
            found = findings(app)
            assert len(found) == len(steps)
            assert "1 job(s) of step 'releases.removed'" in " ".join(finding.what for finding in found)
            assert {finding.level for finding in found} == {Level.WARNING}
            eventually(lambda: len(last_job(workflows[-1]).attempts) > 1, 20, what="a job that is left again")
            assert unfit.terminate() == 0  # killed, it could hold one
        assert unfit.log().count("this worker leaves jobs of") == len(steps)
        assert {last_job(workflow).status for workflow in workflows} <= {JobStatus.SCHEDULED, JobStatus.QUEUED}
        assert {workflow.status for workflow in workflows} == {"running"}
        with worker_of(starter, redis_broker, ledger_url):
            for name, workflow in zip(steps, workflows, strict=True):
                assert workflow.result(30) == results[name]
                assert counted(last_job(workflow)) == 1
        assert no_letters(app)
        require_sound(app)


@on_sqlite
def test_arguments_that_both_releases_take_are_not_released(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as app, worker_of(OLDER, redis_broker, ledger_url):
        (workflow,) = start(redis_broker, app, NEWER, "required")
        assert workflow.result(20) == "3 and 4"
        assert [attempt.outcome for attempt in last_job(workflow).attempts] == [AttemptOutcome.SUCCEEDED]


@on_sqlite
def test_workers_of_both_releases_side_by_side_do_all_of_it(redis_broker: Broker, ledger_url: str) -> None:
    with (
        client(redis_broker, ledger_url) as app,
        worker_of(OLDER, redis_broker, ledger_url),
        worker_of(NEWER, redis_broker, ledger_url),
    ):
        workflows = start(redis_broker, app, NEWER, *["added"] * 20)
        assert {workflow.result(40) for workflow in workflows} == {"3 and 4"}
        # Which worker takes a message is chance, but the older one tries each job no more than once.
        assert max(len(last_job(workflow).attempts) for workflow in workflows) <= 2
        assert no_letters(app)


@pytest.mark.long
@on_sqlite
def test_a_job_that_a_live_worker_takes_waits_for_it_however_long_and_fails_once_it_is_gone(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    env = {"AGENTQ_TEST_FOLDER": str(gates.folder)}
    at = (redis_broker, ledger_url)
    with client(*at) as app:
        newer = worker_of(NEWER, *at, concurrency=1, env=env)
        with newer:
            start(redis_broker, app, NEWER, "held")
            gates.await_reached("newer")
            with worker_of(OLDER, *at, settings={"release_grace": 1}):
                (workflow,) = start(redis_broker, app, NEWER, "added")
                await_left(workflow, "; 1 live worker takes them")
                (finding,) = findings(app)
                assert finding.level == Level.OK
                assert finding.what == (
                    f"1 job(s) of step 'releases.added' on queue {redis_broker.queue!r} were left for their "
                    "arguments: 1 live worker takes them"
                )
                (left,) = last_job(workflow).attempts
                late = left.finished_at + timedelta(seconds=3)
                eventually(lambda: ledger_time(app) > late, 20, what="the end of the grace")
                assert [attempt.outcome for attempt in last_job(workflow).attempts] == [AttemptOutcome.RELEASED]
                assert last_job(workflow).status == JobStatus.QUEUED
                newer.kill()
                with pytest.raises(StepFailed, match="unexpected keyword argument 'b'"):
                    workflow.result(60)


@on_sqlite
def test_a_plain_task_that_is_a_step_here_runs_as_the_step_it_is(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as app, worker_of(NEWER, redis_broker, ledger_url):
        (workflow,) = start(redis_broker, app, OLDER, "adopted")
        assert workflow.result(30) == "3 in attempt 1"
        assert last_job(workflow).kind == JobKind.TASK


@on_sqlite
def test_arguments_that_no_worker_takes_in_time_are_a_dead_letter(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as app:
        (workflow,) = start(redis_broker, app, NEWER, "added")
        impatient = worker_of(OLDER, redis_broker, ledger_url, settings={"release_grace": 1})
        with impatient, pytest.raises(StepFailed, match="unexpected keyword argument 'b'; its parameters are"):
            workflow.result(20)
        job = last_job(workflow)
        assert (job.error_category, counted(job)) == ("invalid_arguments", 1)
        dead_letters.replay(app.ledger, str(job.id))
        with worker_of(OLDER, redis_broker, ledger_url):
            await_left(workflow, "takes these arguments")
            jobs.move(app.ledger, str(job.id), "nowhere")
            nobody = "a worker on queue 'nowhere', which no live worker consumes"
            eventually(lambda: last_job(workflow).waiting_for == nobody, 20, what="a job that was moved")
            jobs.move(app.ledger, str(job.id), redis_broker.queue)
        with worker_of(NEWER, redis_broker, ledger_url):
            assert workflow.result(30) == "3 and 4"
        require_sound(app)
