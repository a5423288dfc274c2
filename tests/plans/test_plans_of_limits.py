"""However many jobs wait for a limit, and tenants wait or once did, an admission reads a few pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from agentq.ledger import holds, limits
from agentq.ledger.caretaking import take_backs
from agentq.ledger.caretaking.work import find_work
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.holds import Full, Wanted
from agentq.ledger.records import Dispatch
from agentq.outcomes import Cool, Fail, Succeed
from agentq.policies.limits import Meters, PerTime
from tests.plans.crowd import crowd, multiply
from tests.plans.server import ExplainingPostgres, Plan
from tests.support import cooling
from tests.support.fake_worker import FAILURE
from tests.support.holding import HoldingWorker
from tests.support.limited import BLOCKED, SLOTS, ask, train
from tests.support.paced import GAP, PacedWorker, call
from tests.support.steps import echo

WAITERS, TENANTS, IDLE, LIMITS = 100_000, 1_000, 10_000, 5_000
SMALL = "model:small"
PAID = Meters(rate=PerTime(7, 60.0, 1), has_cooldown=True)
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
    "INSERT INTO agentq_holds (id, name, job_id, attempt, until, created_at)"
    " SELECT gen_random_uuid(), 'kept', id, 1, now() + interval '1 day', now() FROM agentq_jobs LIMIT 5000",
    "INSERT INTO agentq_limits (name, declared) SELECT 'model:' || n, 1 FROM generate_series(1, :limits) n",
)


class PlannedWorker(HoldingWorker, PacedWorker):
    """A worker whose attempts take slots inside their steps, and pay for their starts."""


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: ExplainingPostgres) -> Iterator[PlannedWorker]:
    """A worker that planned all its statements before jobs stood in the line."""
    ledger = Ledger(server.url, timeout=120)
    migrate.upgrade(ledger)
    crowd(server.url, DONE)
    server.administer("ANALYZE")
    worker = PlannedWorker(server.url)
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE agentq_workers SET knows = '{}'"))
    for _ in range(PREPARED):
        admit_in_each_way(worker)
    fill_line(ledger, worker)
    ledger.close()
    yield worker
    worker.ledger.close()


def fill_line(ledger: Ledger, worker: PlannedWorker) -> None:
    """Let jobs of one limit, of two, of a rate and of a cooldown wait for many tenants, beside many limits."""
    holding = [*[ask.s()] * SLOTS, *[cooling.call.s()] * cooling.AT_ONCE]
    waiting = worker.begin_all([*holding, ask.s(), train.s(), call.s(), cooling.call.s()])[len(holding) :]
    multiply(ledger, [worker.job(job).workflow_id for job in waiting], WAITERS // len(waiting), TENANTS)
    with ledger.engine.begin() as connection:
        for statement in _CROWD:
            connection.execute(text(statement), {"limits": LIMITS, "idle": IDLE})


def admit_in_each_way(worker: PlannedWorker) -> None:
    """Hand a slot over, free one and give one back, admit the next one by each, and look as a caretaker does."""
    start_at_its_time(worker)
    worker.begin_all([ask.s()] * (SLOTS + 4), tenant="swift")
    both = worker.begin_all([train.s()], tenant="swift")
    worker.end(worker.next())
    worker.end(worker.next(), Fail(FAILURE))
    with worker.dying():
        worker.end(worker.next(), Fail(FAILURE))
    worker.ledger.read_statement(lambda connection: find_work(connection, worker.worker_id, 60.0))
    call_and_lose(worker)
    call_and_pay(worker)
    cool_and_open(worker)
    limits.fill(worker.ledger)
    limits.enter_unawaited(worker.ledger)
    take_one_back(worker)
    name_one(worker)
    assert worker.statuses(both)
    while len(worker.published) > SLOTS + cooling.AT_ONCE:
        worker.end(worker.next())


def name_one(worker: PlannedWorker) -> None:
    """Name the limit of a job by the result of the one before it."""
    worker.begin_all([echo.s() | ask.s()], tenant="swift")
    worker.end(worker.take(worker.published.pop()), Succeed('"small"'))
    assert worker.name(worker.published.pop()) == BLOCKED


def take_one_back(worker: PlannedWorker) -> None:
    """Take the slot of a queued job back, as where no worker consumes its queue."""
    worker.renew(600, queues=["celery"])
    job = take_of(worker, ask.name).job_id
    worker.set(job, queue="deserted")
    worker.age(job, dispatched_at=61)
    assert take_backs.take_back(worker.ledger)["deserted"] == 1


def call_and_lose(worker: PlannedWorker) -> None:
    """Take slots inside a step, and free them in each way; one by one, all of an attempt, and as a caretaker."""
    claim = worker.research()
    for _ in range(2):
        hold = worker.call(claim)
        assert isinstance(hold, uuid.UUID)
        holds.free(worker.ledger, hold)
    worker.call(claim)
    holds.free_all_of(worker.ledger, claim.job_id, claim.attempt)
    worker.call(claim)
    worker.end(claim)


def call_and_pay(worker: PlannedWorker) -> None:
    """Pay for calls of a limit that jobs wait for; one succeeds, one is refused, and others come too early."""
    claim = worker.research()
    for end in ({"succeeded": True, "more_tokens": 5}, {"cool": Cool(("calls",), 30, "429")}):
        worker.set_due("calls", -GAP)
        hold = worker.call(claim, PAID, "calls", tokens=10)
        assert isinstance(hold, uuid.UUID)
        holds.free(worker.ledger, hold, **end)
    assert isinstance(worker.call(claim, PAID, "calls", tokens=10), Full)
    cooling.end_cooldown(worker, "calls")
    assert isinstance(worker.call(claim, PAID, "calls", tokens=10), Full)
    worker.set_due("calls", -GAP)
    assert not isinstance(holds.pay(worker.ledger, claim, Wanted("calls", PAID, 10)), Full)
    cooling.forget_cooldown(worker, "calls")
    worker.end(claim)


def cool_and_open(worker: PlannedWorker) -> None:
    """Let a limit cool, look as a caretaker does, and let it open by degrees until it is as open as before."""
    worker.begin_all([cooling.call.s()] * (cooling.AT_ONCE + 2), tenant="swift")
    worker.end(worker.take(take_of(worker, cooling.call.name)), cooling.refused(30))
    assert worker.limit(cooling.API).ramp == 1
    worker.ledger.read_statement(lambda connection: find_work(connection, worker.worker_id, 60.0))
    limits.fill(worker.ledger)
    cooling.end_cooldown(worker)
    limits.fill(worker.ledger)
    for _ in range(2 * cooling.AT_ONCE):
        if worker.limit(cooling.API).ramp is not None:
            worker.end(worker.take(take_of(worker, cooling.call.name)))
    assert worker.limit(cooling.API).ramp is None


def take_of(worker: PlannedWorker, step: str) -> Dispatch:
    """Take the first message of a step."""
    message = next(message for message in worker.published if message.step == step)
    worker.published.remove(message)
    return message


def start_at_its_time(worker: PlannedWorker) -> None:
    """Admit a job of a rate, claim it, let it be refused once, and end it."""
    worker.begin_all([call.s()] * 2, tenant="swift")
    worker.set_due("calls", -GAP)
    assert limits.pace(worker.ledger, "calls", worker.worker_id) is not None
    worker.set_due("calls", 10 * GAP)
    assert worker.claim(take_paying(worker)) is None
    worker.set_due("calls", -GAP)
    limits.fill(worker.ledger)
    worker.end(worker.take(take_paying(worker)))


def take_paying(worker: PlannedWorker) -> Dispatch:
    """Take the first message of a job that pays for its start."""
    message = next(message for message in worker.published if message.pays)
    worker.published.remove(message)
    return message


def test_plans_of_the_time_when_no_job_waited_still_serve(
    worker: PlannedWorker, server: ExplainingPostgres
) -> None:
    require_small_reads(worker, server)


def test_plans_for_each_value_serve(worker: PlannedWorker, server: ExplainingPostgres) -> None:
    server.administer("ALTER DATABASE postgres SET plan_cache_mode = force_custom_plan")
    server.administer("ANALYZE")
    server.forget_plans()
    require_small_reads(worker, server)


def require_small_reads(worker: PlannedWorker, server: ExplainingPostgres) -> None:
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
