"""One canvas with everything in it gives the same result on each pool, each broker and each ledger."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from celery import group

from agentq import each
from agentq.ledger.audit.audit import audit
from tests.runtime.stack import migrated_ledger, stack
from tests.support import Broker
from tests.support.steps import add, flaky, later, numbers, plain, total

WAYS = [
    ("prefork", "redis_broker", "sqlite"),
    ("prefork", "redis_broker", "postgresql"),
    ("threads", "redis_broker", "sqlite"),
    ("threads", "redis_broker", "postgresql"),
    ("solo", "redis_broker", "sqlite"),
    ("asyncio", "redis_broker", "sqlite"),
    ("asyncio", "redis_broker", "postgresql"),
    ("asyncio", "rabbitmq_broker", "postgresql"),
    ("prefork", "rabbitmq_broker", "sqlite"),
    ("prefork", "rabbitmq_broker", "postgresql"),
]


@pytest.mark.parametrize(("pool", "fixture", "database"), WAYS, ids=["-".join(way) for way in WAYS])
def test_the_same_canvas(
    pool: str, fixture: str, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker: Broker = request.getfixturevalue(fixture)
    canvas = (
        numbers.s(3)
        | each(add.s(10) | later.s())
        | total.s()
        | flaky.s(failures=1)
        | group(add.s(1), later.s() | plain.s())
        | total.s()
    )
    with migrated_ledger(database, tmp_path) as url, stack(broker, url, pool=pool) as at:
        workflow = at.agentq.start(canvas)
        assert workflow.result(30) == 67
        assert {job.attempt for job in workflow.jobs() if job.step == flaky.name} == {2}
        assert at.agentq.ledger.read(audit) == []


def test_async_steps_wait_together_on_threads(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, pool="threads", concurrency=20) as at:
        began = time.monotonic()
        workflow = at.agentq.start(group(later.s(number, 1.0) for number in range(20)))
        assert workflow.result(30) == list(range(20))
        assert time.monotonic() - began < 5
