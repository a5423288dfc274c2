"""One tenant floods a limit with as many jobs as all others together: each tenant gets its share of the starts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from agentq import Concurrency, Rate, step
from agentq.ledger import limits
from agentq.operations import tenants
from tests.support.paced import PacedWorker

FLOOD, OTHERS = "flood", [f"small-{number}" for number in range(19)]
TENANTS = [FLOOD, *OTHERS]
ROUNDS = 10
"""Turns of each tenant of weight 1 that are looked at; all tenants have jobs in the line so long."""
SPARE = 4
LEAST, MOST = 0.8, 1.25
"""The promised share of a tenant, of its fair one."""
SLOTS, AT_ONCE = 4, 5
WEIGHTS = [
    pytest.param({}, id="equal"),
    pytest.param({FLOOD: 0.5, OTHERS[0]: 4, OTHERS[1]: 2}, id="weighted", marks=pytest.mark.long),
]


@step(limits=[Concurrency("shared", limit=SLOTS)])
def hold() -> None:
    """A call of which few may run at once."""


@step(limits=[Rate("shared-starts", limit=60 + AT_ONCE, per=60, burst=AT_ONCE)])
def begin() -> None:
    """A call of which few may start at once."""


@pytest.fixture
def worker(ledger_url: str) -> Iterator[PacedWorker]:
    """A worker for all jobs."""
    worker = PacedWorker(ledger_url)
    yield worker
    worker.ledger.close()


@pytest.mark.parametrize("called", [hold, begin], ids=["slots", "starts"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_tenant_that_floods_a_limit_gets_its_share_and_so_does_each_other_one(
    worker: PacedWorker, called: Any, weights: Mapping[str, float]
) -> None:
    weighing = {tenant: weights.get(tenant, 1.0) for tenant in TENANTS}
    for tenant, weight in weights.items():
        tenants.set_weight(worker.ledger, tenant, weight)
    jobs = {tenant: int(weighing[tenant] * (ROUNDS + SPARE)) for tenant in OTHERS}
    worker.begin_at_once([called.s()] * sum(jobs.values()), tenant=FLOOD)
    for tenant, number in jobs.items():
        worker.begin_at_once([called.s()] * number, tenant=tenant)

    a_round = sum(weighing.values())
    served = [tenant for tenant, _ in zip(starts(worker), range(round((ROUNDS + 1) * a_round)), strict=False)]
    counted = served[-round(ROUNDS * a_round) :]  # after those that came before the other tenants
    shares = shares_of(counted, weighing)
    assert LEAST <= shares[FLOOD] <= MOST
    assert {tenant: share for tenant, share in shares.items() if not LEAST <= share <= MOST} == {}


def starts(worker: PacedWorker) -> Iterator[str]:
    """Run the jobs as they are admitted, and give the tenant of each that starts; ends come in any order."""
    chance, running = random.Random(7), []
    while True:
        limits.pace(worker.ledger, "shared-starts", worker.worker_id)
        while worker.published:
            running.append(worker.next())
            yield running[-1].tenant
        if running:
            worker.end(running.pop(chance.randrange(len(running))))
        else:
            worker.let_pass(AT_ONCE)  # seconds, until so many can start again


def shares_of(served: list[str], weighing: Mapping[str, float]) -> dict[str, float]:
    """Return the starts of each tenant, of its fair number."""
    counts, total = Counter(served), sum(weighing.values())
    return {tenant: counts[tenant] / (len(served) * weight / total) for tenant, weight in weighing.items()}
