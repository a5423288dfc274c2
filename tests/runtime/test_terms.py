"""A lost attempt is decided by its step's policy, also on a worker without the step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from agentq import AgentQ, each, rule
from agentq.operations import dead_letters
from agentq.operations.schemas import Job
from agentq.policies import DEFAULT, Fixed
from agentq.runtime.start.terms import stored_policy
from agentq.runtime.workflow import Workflow
from agentq.states import JobStatus
from tests.runtime.kept_steps import PAUSE, again, ask, ask_by_predicate, dead_letter, never, pause, twice
from tests.runtime.queries import ledger_time, require_sound
from tests.support import Broker, Gates, Worker, client, eventually

_SETTINGS = {"lease": 2, "redispatch_after": 60}


def last_job(workflow: Workflow[Any]) -> Job:
    """The job that the worker died of; of an each(), the branch's."""
    return workflow.jobs()[-1]


def needs_person(app: AgentQ, job: Job) -> bool:
    return dead_letters.get(app.ledger, str(job.id)).needs_person


def test_a_worker_without_the_step_decides_by_the_policy_of_the_step_that_was_started(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    soon = rule("retry", category="worker_lost", schedule=Fixed(PAUSE / 2))
    with client(redis_broker, ledger_url) as app:
        asked = [
            app.start(canvas)
            for canvas in (ask.s(folder), ask_by_predicate.s(folder), twice.s(folder) | each(ask.s()))
        ]
        ended = [app.start(canvas) for canvas in (never.s(folder), dead_letter.s(folder))]
        paused = app.start(pause.s(folder))
        overridden = app.start(ask.s(folder), retry=soon)
        retried = app.start(again.s(folder))
        pool: dict[str, Any] = {"pool": "threads", "concurrency": 10, "settings": _SETTINGS}
        arguments = ("-I", "tests.runtime.kept_steps")
        with Worker(redis_broker, ledger_url, arguments=arguments, **pool) as first:
            gates.await_reached("held", 8)
            first.kill()
        with Worker(redis_broker, ledger_url, settings=_SETTINGS):
            workflows = [*asked, *ended, paused, overridden, retried]
            eventually(
                lambda: all(last_job(workflow).status != JobStatus.RUNNING for workflow in workflows),
                30,
                what="rescued jobs",
            )
        now = ledger_time(app)
        for workflow in (*asked, *ended):
            job = last_job(workflow)
            assert (job.status, job.error_category, job.attempt) == (JobStatus.FAILED, "worker_lost", 1)
            assert needs_person(app, job) is (workflow in asked)
        for workflow, seconds in ((paused, PAUSE), (overridden, PAUSE / 2)):
            job = last_job(workflow)
            assert job.status == JobStatus.SCHEDULED
            assert job.due_at is not None
            assert seconds / 2 < (job.due_at - now) / timedelta(seconds=1) <= seconds
        assert last_job(retried).status == JobStatus.QUEUED
        require_sound(app)


def test_a_workflow_of_an_older_release_is_decided_by_the_default_policy() -> None:
    assert stored_policy(None, ask.name) == DEFAULT
    assert stored_policy("{}", ask.name) == DEFAULT


def test_a_kept_policy_that_cannot_be_read_asks_a_person() -> None:
    kept = '{"step": {"policy": {"otherwise": {"action": "delegate"}}}}'
    assert str(stored_policy(kept, "step").otherwise) == "ask on everything"
