"""A worker whose step takes other arguments, as that of another release, leaves the job for one that fits."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from agentq import AgentQ
from agentq.exceptions import StepFailed
from agentq.operations import dead_letters, jobs
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import Job
from agentq.runtime.workflow import Workflow
from agentq.states import AttemptOutcome, JobStatus
from tests.runtime import released
from tests.runtime.looks import require_sound
from tests.runtime.released import NEWER, OLDER
from tests.runtime.releases import OLDER_RESULTS, RESULTS
from tests.support import Broker, client, eventually

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


worker_of = partial(released.worker_of, "tests.runtime.releases")
start = partial(released.start, "tests.runtime.releases")


def last_job(workflow: Workflow[Any]) -> Job:
    return workflow.jobs()[-1]


def await_left(workflow: Workflow[Any], waits_for: str) -> None:
    eventually(lambda: waits_for in (last_job(workflow).waiting_for or ""), 20, what="a job that is left")


def counted(job: Job) -> int:
    """How many attempts at a job count."""
    return sum(attempt.outcome != AttemptOutcome.RELEASED for attempt in job.attempts)


def no_letters(app: AgentQ) -> bool:
    return dead_letters.list_(app.ledger, DeadLetterFilter(status=None)) == []


@pytest.mark.parametrize(
    ("starter", "steps", "results"),
    [
        (NEWER, ("added", "removed", "retyped", "fed"), RESULTS),
        (OLDER, ("required", "removed", "retyped"), OLDER_RESULTS),
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
                await_left(workflow, f"a worker whose step 'releases.{name}' takes these arguments: ")
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
def test_what_the_other_release_takes_too_is_not_left(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as app, worker_of(OLDER, redis_broker, ledger_url):
        (workflow,) = start(redis_broker, app, NEWER, "required")
        assert workflow.result(20) == "3 and 4"
        assert [attempt.outcome for attempt in last_job(workflow).attempts] == [AttemptOutcome.SUCCEEDED]


@on_sqlite
@pytest.mark.timeout(240)
def test_workers_of_both_releases_side_by_side_do_all_of_it(redis_broker: Broker, ledger_url: str) -> None:
    with (
        client(redis_broker, ledger_url) as app,
        worker_of(OLDER, redis_broker, ledger_url),
        worker_of(NEWER, redis_broker, ledger_url),
    ):
        workflows = start(redis_broker, app, NEWER, *["added"] * 8)
        # Which worker takes a message is chance: 12 times in a row the older one would need these two minutes.
        assert {workflow.result(120) for workflow in workflows} == {"3 and 4"}
        assert no_letters(app)


@on_sqlite
def test_arguments_that_nobody_takes_in_time_are_a_dead_letter_with_the_reason(
    redis_broker: Broker, ledger_url: str
) -> None:
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
