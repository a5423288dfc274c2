"""The workload of these tests: one canvas of each shape, with what must come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Signature, chain, group
from sqlalchemy import func, select

from agentq import AgentQ, each
from agentq.ledger.models import JobRow
from agentq.runtime.workflow import Workflow
from agentq.states import RUNNABLE, AttemptOutcome, JobStatus
from tests.runtime.queries import require_sound
from tests.support.steps import add, numbers, total

SHAPES: dict[str, tuple[Signature, int]] = {
    "chain": (chain(add.s(1, 2), *(add.s(1) for _ in range(4))), 7),
    "fan-in": (group(add.s(number, 1) for number in range(4)) | total.s() | add.s(1), 11),
    "each": (numbers.s(4) | each(add.s(10) | add.s(1)) | total.s(), 50),
}

Started = Sequence[tuple[Workflow[Any], int]]


def start_all(agentq: AgentQ, times: int) -> Started:
    """Start each shape so many times; returns each workflow with its result to be."""
    return [(agentq.start(canvas), result) for _ in range(times) for canvas, result in SHAPES.values()]


def done_jobs(agentq: AgentQ) -> int:
    """Return how many jobs have succeeded so far."""
    query = select(func.count()).where(JobRow.status == JobStatus.SUCCEEDED)
    return agentq.ledger.read(lambda connection: connection.scalar(query) or 0)


def require_all(agentq: AgentQ, started: Started, seconds: float = 30) -> None:
    """Fail unless all end with their results, every job was accepted once, and the audit finds nothing."""
    assert [workflow.result(seconds) for workflow, _ in started] == [result for _, result in started]
    for workflow, _ in started:
        for job in workflow.jobs():
            accepted = [attempt for attempt in job.attempts if attempt.outcome == AttemptOutcome.SUCCEEDED]
            assert len(accepted) == (1 if job.kind in RUNNABLE else 0)
    require_sound(agentq)
