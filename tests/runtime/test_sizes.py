"""Large canvases end with the right result, and leave a ledger in which the audit finds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Signature, chain

from agentq import each
from agentq.ledger.audit.audit import audit
from agentq.states import JobStatus
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import redis_server
from tests.support.samples import EVERYTHING, wanted_sample
from tests.support.steps import add, numbers, total

pytestmark = pytest.mark.timeout(300)

DEPTH = 5
ITEMS = 10_000 if wanted_sample() == EVERYTHING else 3_000


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A prefork worker with two processes."""
    folder: Path = tmp_path_factory.mktemp("sizes")
    with redis_server() as broker, migrated_ledger(database, folder) as url, stack(broker, url) as running:
        yield running


def test_a_chain_of_a_thousand_steps(at: Stack) -> None:
    workflow = at.agentq.start(chain(add.s(0, 1), *[add.s(1) for _ in range(999)]))
    assert workflow.result(200) == 1000
    assert len(at.agentq.ledger.read(audit)) == 0
    jobs = workflow.jobs()
    assert len(jobs) == 1000
    assert {(job.status, job.attempt) for job in jobs} == {(JobStatus.SUCCEEDED, 1)}


def test_each_over_thousands_of_items_fans_in(at: Stack) -> None:
    workflow = at.agentq.start(numbers.s(ITEMS) | each(add.s(1)) | total.s())
    assert workflow.result(250) == sum(range(1, ITEMS + 1))
    assert at.agentq.ledger.read(audit) == []


def test_five_levels_of_each(at: Stack) -> None:
    workflow = at.agentq.start(_nested(DEPTH, DEPTH))
    assert workflow.result(60) == _expected(DEPTH, DEPTH)
    assert at.agentq.ledger.read(audit) == []


def _nested(levels: int, *first: int) -> Signature:
    """Each number becomes the numbers below it, level by level: branches of all lengths, empty ones too."""
    inside = add.s(1) if levels == 1 else _nested(levels - 1)
    return numbers.s(*first) | each(inside)


def _expected(levels: int, number: int) -> Any:
    return [item + 1 if levels == 1 else _expected(levels - 1, item) for item in range(number)]
