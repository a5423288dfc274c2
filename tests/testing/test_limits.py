"""Limits hold inline: jobs over a limit are blocked until another one has ended, or until time lets them go."""

from __future__ import annotations

from typing import Any

import pytest
from celery import group

import agentq
from agentq import Concurrency, each, step
from agentq.exceptions import WorkflowCancelled
from agentq.operations import audit, limits
from agentq.testing import assert_succeeded, assert_waiting_for
from agentq.testing.inline import Inline
from tests.support.steps import numbers, total

HOUR = 3600.0
NAME = "inline:small"


@step(limits=[Concurrency("inline", key="model", limit=2)])
def ask(number: int, model: str = "small") -> int:
    return number


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound, and no slot is held."""
    yield
    assert audit.run(agentq_inline.ledger).is_sound
    assert {limit.used for limit in limits.list_(agentq_inline.ledger)} <= {0}


@pytest.fixture
def paused(agentq_inline: Inline) -> Inline:
    """A limit that a job has used, and that is paused for an hour."""
    agentq.start(ask.s(0)).result()
    limits.change(agentq_inline.ledger, NAME, 0, until=HOUR, actor="ann", reason="the provider is down")
    return agentq_inline


def test_a_job_over_the_limit_is_blocked_until_the_run_that_ends_another(agentq_inline: Inline) -> None:
    workflow = agentq.start(group(ask.s(number) for number in range(3)))
    statuses = sorted(job.status for job in workflow.jobs() if job.step == ask.name)
    assert statuses == ["blocked", "queued", "queued"]
    assert_waiting_for(workflow, f"slots of {NAME}, 2 of 2, 1st", ask)
    assert agentq_inline.run() == 3
    assert assert_succeeded(workflow) == [0, 1, 2]


def test_an_each_of_more_members_than_slots_ends(agentq_inline: Inline) -> None:
    workflow = agentq.start(numbers.s(20) | each(ask.s()) | total.s())
    assert workflow.result() == sum(range(20))


def test_a_pause_before_a_retry_lets_the_next_job_run(agentq_inline: Inline) -> None:
    agentq_inline.fail(ask, agentq.Retry("busy", after=60), times=2)
    workflow = agentq.start(group(ask.s(number) for number in range(3)))
    agentq_inline.run()
    statuses = sorted(job.status for job in workflow.jobs() if job.step == ask.name)
    assert statuses == ["scheduled", "scheduled", "succeeded"]
    agentq_inline.advance(HOUR)
    assert assert_succeeded(workflow) == [0, 1, 2]


def test_a_blocked_job_expires_at_its_time(paused: Inline) -> None:
    workflow = agentq.start(ask.s(1).set(expires=60))
    assert_waiting_for(workflow, f"slots of {NAME}, paused by ann until", ask)
    before = paused.now
    with pytest.raises(WorkflowCancelled, match="expired before it ran"):
        workflow.result()
    assert 59 <= (paused.now - before).total_seconds() < HOUR


def test_a_blocked_job_runs_when_the_pause_of_its_limit_ends(paused: Inline) -> None:
    workflow = agentq.start(ask.s(1))
    before = paused.now
    assert workflow.result() == 1
    assert HOUR - 60 <= (paused.now - before).total_seconds() <= HOUR + 60
