"""A plain task keeps its own time limits, and sees in its request what Celery tells it there."""

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


@shared_task(bind=True, name="tests.own_limits.looks")  # type: ignore[untyped-decorator]
def looks(self: Any) -> list[str]:
    request = self.request
    return [request.id, request.root_id, request.parent_id, request.hostname]


def test_a_limit_that_is_written_on_the_task_holds(agentq_inline: Inline) -> None:
    with pytest.raises(StepFailed) as failed:
        agentq.start(slow.s(30)).result()
    assert (failed.value.category, failed.value.attempts) == ("timed_out", 1)


def test_a_limit_of_one_call_wins(agentq_inline: Inline) -> None:
    assert agentq.start(slow.s(0.4).set(soft_time_limit=20)).result() == 0.4


def test_its_request_tells_job_workflow_and_worker(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | looks.si())
    first, second = (str(job.id) for job in workflow.jobs())
    assert workflow.result() == [second, workflow.id, first, "inline"]
