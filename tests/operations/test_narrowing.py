"""Filters take what a ledger can have, and say so of what none can; nothing raises an error of a database's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from agentq.exceptions import InvalidArguments
from agentq.operations import dead_letters, jobs, pruning, workflows
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.identity import find_id
from agentq.operations.jobs import JobFilter
from agentq.operations.workflows import WorkflowFilter
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

LISTS: list[Any] = [
    (jobs.list_, JobFilter),
    (workflows.list_, WorkflowFilter),
    (workflows.cancel_all, WorkflowFilter),
    (dead_letters.list_, DeadLetterFilter),
    (dead_letters.count, DeadLetterFilter),
]


@pytest.mark.parametrize("text", ["\udcff", "a\0b"], ids=["surrogate", "nul"])
@pytest.mark.parametrize(("ask", "wanted"), LISTS)
def test_text_that_no_ledger_keeps_is_refused(fake: FakeWorker, ask: Any, wanted: Any, text: str) -> None:
    with pytest.raises(InvalidArguments, match="characters that no ledger keeps"):
        ask(fake.ledger, wanted(tenant=text))
    with pytest.raises(InvalidArguments, match="characters that no ledger keeps"):
        find_id(fake.ledger, f"key:{text}", "workflow")


@pytest.mark.parametrize("age", [-1, 1e9, 1e300, math.inf, math.nan])
@pytest.mark.parametrize(("ask", "wanted"), LISTS)
def test_an_age_that_no_row_has_is_refused(fake: FakeWorker, ask: Any, wanted: Any, age: float) -> None:
    with pytest.raises(InvalidArguments, match=r"older_than is .*; it must be seconds, from 0 to 1000000000"):
        ask(fake.ledger, wanted(older_than=age))
    with pytest.raises(InvalidArguments, match="older_than is "):
        pruning.prune(fake.ledger, older_than=age)


def test_any_other_text_is_a_value_to_compare_with(fake: FakeWorker) -> None:
    for tenant in ("テナント", "'; DROP TABLE agentq_jobs; --", "%", "\x1b[31m"):
        fake.start(add.s(1, 2), tenant=tenant)
        assert [job.tenant for job in jobs.list_(fake.ledger, JobFilter(tenant=tenant))] == [tenant]
