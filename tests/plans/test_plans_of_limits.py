"""However many jobs wait for a limit, and tenants wait or once did, an admission reads a few pages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from agentq.ledger import limits
from agentq.ledger.caretaking import take_backs
from agentq.ledger.caretaking.work import find_work
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.outcomes import Fail
from tests.plans.crowd import crowd, multiply
from tests.plans.server import ExplainingPostgres, Plan
from tests.support.fake_worker import FAILURE
from tests.support.limited import SLOTS, LimitedWorker, ask, train

WAITERS, TENANTS, IDLE, LIMITS = 100_000, 1_000, 10_000, 5_000
SMALL = "model:small"
DONE = 2_000
"""Jobs that were there before the first one had a limit."""
PAGES = 300
"""More than a statement needs here; the waiters' index alone has over a thousand."""
PAGES_OF_TENANT = 8
"""More than the caretaker's look for lines that are not awaited needs for each tenant that waits."""
PREPARED = 6
"""The number of runs after which the driver prepares a statement, and the server plans it for good."""
_SORTED = re.compile(r"Sort \([^\n]*actual rows=(\d+)")
_FEW = 50
_CROWD = (
    "INSERT INTO agentq_turns (name, tenant, served)"
    " SELECT DISTINCT blocked_on, tenant, 1e6 FROM agentq_jobs WHERE status = 'blocked' ON CONFLICT DO NOTHING",
    "INSERT INTO agentq_turns (name, tenant, served, is_idle)"
    " SELECT 'model:small', 'idle-' || n, 0, true FROM generate_series(1, :idle) n",
    "INSERT INTO agentq_limits (name, declared) SELECT 'model:' || n, 1 FROM generate_series(1, :limits) n",
)


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: ExplainingPostgres) -> Iterator[LimitedWorker]:
    """A worker that planned all its statements before jobs stood in the line."""
    ledger = Ledger(server.url, timeout=120)
    migrate.upgrade(ledger)
    crowd(server.url, DONE)
    server.administer("ANALYZE")
    worker = LimitedWorker(server.url)
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE agentq_workers SET knows = '{}'"))
    for _ in range(PREPARED):
        admit_in_each_way(worker)
    fill_line(ledger, worker)
    ledger.close()
    yield worker
    worker.ledger.close()


def fill_line(ledger: Ledger, worker: LimitedWorker) -> None:
    """Let jobs of one limit and of two wait for many tenants, and have many other limits."""
    waiting = worker.begin_all([*[ask.s()] * SLOTS, ask.s(), train.s()])[SLOTS:]
    multiply(ledger, [worker.job(job).workflow_id for job in waiting], WAITERS // len(waiting), TENANTS)
    with ledger.engine.begin() as connection:
        for statement in _CROWD:
            connection.execute(text(statement), {"limits": LIMITS, "idle": IDLE})


def admit_in_each_way(worker: LimitedWorker) -> None:
    """Hand a slot over, free one and give one back, admit the next one by each, and look as a caretaker does."""
    worker.begin_all([ask.s()] * (SLOTS + 4), tenant="swift")
    both = worker.begin_all([train.s()], tenant="swift")
    worker.end(worker.next())
    worker.end(worker.next(), Fail(FAILURE))
    with worker.dying():
        worker.end(worker.next(), Fail(FAILURE))
    worker.ledger.read_statement(lambda connection: find_work(connection, worker.worker_id, 60.0))
    limits.fill(worker.ledger)
    limits.enter_unawaited(worker.ledger)
    take_one_back(worker)
    assert worker.statuses(both)
    while len(worker.published) > SLOTS:
        worker.end(worker.next())


def take_one_back(worker: LimitedWorker) -> None:
    """Take the slot of a queued job back, as where no worker consumes its queue."""
    worker.renew(600, queues=["celery"])
    job = worker.published.popleft().job_id
    worker.set(job, queue="deserted")
    worker.age(job, dispatched_at=61)
    assert take_backs.take_back(worker.ledger)["deserted"] == 1


def test_plans_of_the_time_when_no_job_waited_still_serve(
    worker: LimitedWorker, server: ExplainingPostgres
) -> None:
    require_small_reads(worker, server)


def test_plans_for_each_value_serve(worker: LimitedWorker, server: ExplainingPostgres) -> None:
    server.administer("ALTER DATABASE postgres SET plan_cache_mode = force_custom_plan")
    server.administer("ANALYZE")
    server.forget_plans()
    require_small_reads(worker, server)


def require_small_reads(worker: LimitedWorker, server: ExplainingPostgres) -> None:
    since = len(server.log())
    admit_in_each_way(worker)
    plans = server.plans(since)
    assert len({plan.text.partition("\n")[0] for plan in plans}) > 15, "the server has reported few plans"
    assert [(plan.read_whole, plan.text) for plan in plans if plan.read_whole] == []
    assert [plan.text for plan in plans if sorts_many(plan)] == []
    assert [(plan.pages, plan.text) for plan in plans if plan.pages > most_pages(plan)] == []


def most_pages(plan: Plan) -> int:
    looks_at_tenants = "each_tenant" in plan.text or "stale_tenant" in plan.text
    return TENANTS * PAGES_OF_TENANT if looks_at_tenants else PAGES


def sorts_many(plan: Plan) -> bool:
    return any(int(rows) > _FEW for rows in _SORTED.findall(plan.text))
