"""Pauses, deferrals and deadlines of minutes to days, which no test can sit out: by a clock that is moved."""

from __future__ import annotations

import email.message
import urllib.error
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

import agentq
from agentq import Workflow, step
from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.operations import dead_letters
from agentq.policies import DEFAULT, PRESETS, Ladder
from agentq.states import JobStatus, WorkflowStatus
from agentq.testing import assert_dead_letter, assert_succeeded
from agentq.testing.inline import Inline
from tests.runtime.queries import history, job_of
from tests.support.steps import add, echo

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@step
def fetch() -> str:
    return "a page"


@step(retry="patient")
def crawl() -> str:
    return "a page"


@step(deadline=1800)
def hurry() -> str:
    return "a page"


def slow_down(retry_after: float | None = None) -> Exception:
    """A provider's rate limit, with or without the seconds that it asks for."""
    headers = email.message.Message()
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return urllib.error.HTTPError("http://provider.example", 429, "slow down", headers, None)


def gaps(workflow: Workflow[Any]) -> list[float]:
    """The seconds from the end of each attempt at the first job to the start of the next."""
    attempts = job_of(workflow).attempts
    return [
        (_started(after.started_at) - before.finished_at).total_seconds() for before, after in pairwise(attempts)
    ]


def _started(started_at: datetime | None) -> datetime:
    assert started_at is not None
    return started_at


def test_a_rate_limit_that_says_no_time_climbs_the_whole_ladder(agentq_inline: Inline) -> None:
    agentq_inline.fail(fetch, slow_down())
    workflow = agentq.start(fetch.s())
    with pytest.raises(StepFailed) as failure:
        workflow.result()
    assert (failure.value.category, failure.value.attempts) == ("rate_limit", DEFAULT.attempts)
    gaps_and_pauses = zip(gaps(workflow), Ladder().pauses, strict=True)
    assert all(pause <= gap <= pause * 1.5 + 30 for gap, pause in gaps_and_pauses)


def test_deferrals_that_a_provider_asks_for_cost_no_attempt_and_end_after_hours(agentq_inline: Inline) -> None:
    agentq_inline.fail(fetch, slow_down(retry_after=1800))
    workflow = agentq.start(fetch.s())
    with pytest.raises(StepFailed) as failure:
        workflow.result()
    job = job_of(workflow)
    assert job.due_reason is not None
    assert "s of deferrals" in job.due_reason
    assert job.attempt == job.deferrals + 1 == failure.value.attempts
    assert DEFAULT.total_deferral - 1800 <= job.deferred <= DEFAULT.total_deferral
    assert min(gaps(workflow)) >= 1800


def test_a_pause_longer_than_the_policy_allows_is_a_dead_letter_at_once(agentq_inline: Inline) -> None:
    agentq_inline.fail(fetch, slow_down(retry_after=DEFAULT.longest_deferral + 1))
    workflow = agentq.start(fetch.s())
    agentq_inline.run()
    assert assert_dead_letter(workflow, fetch, category="rate_limit").attempts == 1


def test_the_patient_preset_sits_out_a_limit_that_is_reset_by_the_hour(agentq_inline: Inline) -> None:
    agentq_inline.fail(crawl, slow_down(retry_after=3600), times=20)
    workflow = agentq.start(crawl.s())
    agentq_inline.advance(19 * HOUR)
    assert workflow.status is WorkflowStatus.RUNNING
    agentq_inline.advance(PRESETS["patient"].spread * 20 * HOUR + HOUR)
    assert assert_succeeded(workflow) == "a page"
    assert history(workflow) == ["retried"] * 20 + ["succeeded"]


def test_a_job_is_not_tried_again_after_its_deadline(agentq_inline: Inline) -> None:
    agentq_inline.fail(hurry, slow_down(retry_after=1000))
    workflow = agentq.start(hurry.s())
    agentq_inline.advance(HOUR)
    assert_dead_letter(workflow, hurry)
    assert history(workflow) == ["retried", "failed"]
    assert "after the job's deadline" in (job_of(workflow).due_reason or "")


def test_a_workflow_is_cancelled_at_its_deadline_of_a_week(agentq_inline: Inline) -> None:
    started = agentq_inline.now
    workflow = agentq.start(
        add.s(1, 2) | echo.s(), not_before=started + 30 * DAY, deadline=(7 * DAY).total_seconds()
    )
    agentq_inline.advance(7 * DAY - HOUR)
    assert workflow.status is WorkflowStatus.RUNNING
    with pytest.raises(WorkflowCancelled, match="deadline"):
        workflow.result()
    ended = job_of(workflow).finished_at
    assert ended is not None
    assert timedelta(0) <= ended - (started + 7 * DAY) < timedelta(minutes=1)


def test_a_replay_of_many_comes_at_its_rate(agentq_inline: Inline) -> None:
    agentq_inline.fail(fetch, PermissionError("closed"), times=4)
    workflows = [agentq.start(fetch.s()) for _ in range(4)]
    agentq_inline.run()
    dead_letters.replay_all(agentq_inline.ledger, dead_letters.DeadLetterFilter(), rate=1 / 600)
    done = []
    for _ in workflows:
        agentq_inline.run()
        done.append(sum(job_of(workflow).status == JobStatus.SUCCEEDED for workflow in workflows))
        agentq_inline.advance(600)
    assert done == [1, 2, 3, 4]
