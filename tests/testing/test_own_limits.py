"""A plain task keeps its own time limits, and sees in its request the values that Celery gives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from celery import shared_task

import agentq
from agentq.exceptions import StepFailed
from agentq.testing.inline import Inline
from tests.support.steps import add


@shared_task(name="tests.own_limits.slow", soft_time_limit=0.2, time_limit=5, max_retries=0)  # type: ignore[untyped-decorator]
async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


@shared_task(bind=True, name="tests.own_limits.request_values")  # type: ignore[untyped-decorator]
def request_values(self: Any) -> list[str]:
    request = self.request
    return [request.id, request.root_id, request.parent_id, request.hostname]


def test_a_limit_that_is_written_on_the_task_holds(agentq_inline: Inline) -> None:
    with pytest.raises(StepFailed) as failed:
        agentq.start(slow.s(30)).result()
    assert (failed.value.category, failed.value.attempts) == ("timed_out", 1)


def test_a_limit_of_one_call_wins(agentq_inline: Inline) -> None:
    assert agentq.start(slow.s(0.4).set(soft_time_limit=20)).result() == 0.4


@shared_task(name="tests.own_limits.urgent", priority=7, queue="urgent", expires=60)  # type: ignore[untyped-decorator]
def urgent(value: int = 0) -> int:
    return value


def test_priority_queue_and_expiry_that_are_written_on_the_task_are_its_jobs(agentq_inline: Inline) -> None:
    workflow = agentq.start(urgent.s(1) | urgent.s() | urgent.s().set(priority=2, queue="calm"))
    first, second, third = workflow.jobs()
    assert [(job.priority, job.queue) for job in (first, second, third)] == [(7, "urgent")] * 2 + [(2, "calm")]
    assert first.expires_at is not None
    assert 50 < (first.expires_at - first.created_at).total_seconds() <= 61
    assert (second.expires_at, third.expires_at) == (None, None)
    assert workflow.result() == 1
    assert agentq.start(add.s(1, 2) | urgent.s(), priority=3).jobs()[1].priority == 3


def test_the_request_has_job_workflow_and_worker(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | request_values.si())
    first, second = (str(job.id) for job in workflow.jobs())
    assert workflow.result() == [second, workflow.id, first, "inline"]
