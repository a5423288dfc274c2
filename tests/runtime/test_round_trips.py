"""The cost of one job of a chain: two round trips to the ledger, and one message."""

from __future__ import annotations

from pathlib import Path

from celery import chain

from agentq import AgentQ
from tests.runtime.stack import migrated_ledger, stack
from tests.runtime.tracing import FOLDER, TRANSACTION
from tests.support import Broker, Gates
from tests.support.proxy import Proxy
from tests.support.steps import add, whoami

JOBS = 20
SETTLED = 30
"""Jobs after which the driver has prepared its statements, which takes one more round trip each."""


def run_chain(agentq: AgentQ, length: int) -> None:
    first = add.s(0, 1)
    assert agentq.start(chain(first, *(add.s(1) for _ in range(length - 1)))).result(60) == length


def published(broker: Broker) -> int:
    """Return how many messages were put into queues so far."""
    with broker.redis as redis:
        commands = redis.info("commandstats")
    return sum(commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("lpush", "rpush"))


def test_a_job_takes_two_round_trips_to_postgresql_and_one_message(redis_broker: Broker, tmp_path: Path) -> None:
    with (
        migrated_ledger("postgresql", tmp_path) as url,
        Proxy(url) as proxy,
        stack(redis_broker, proxy.url, concurrency=1, arguments=("-I", "tests.runtime.patient")) as here,
    ):
        run_chain(here.agentq, SETTLED)
        child = here.agentq.start(whoami.s()).result(20)["pid"]
        trips, messages = proxy.round_trips(child), published(redis_broker)
        run_chain(here.agentq, JOBS)
        assert proxy.round_trips(child) - trips == 2 * JOBS
        assert published(redis_broker) - messages == JOBS


def test_a_job_takes_two_transactions_on_sqlite_and_one_message(
    redis_broker: Broker, tmp_path: Path, gates: Gates
) -> None:
    traced = {"arguments": ("-I", "tests.runtime.tracing"), "env": {FOLDER: str(gates.folder)}}
    with (
        migrated_ledger("sqlite", tmp_path) as url,
        stack(redis_broker, url, concurrency=1, **traced) as here,
    ):
        run_chain(here.agentq, SETTLED)
        child = here.agentq.start(whoami.s()).result(20)["pid"]
        transactions, messages = gates.pids(TRANSACTION).count(child), published(redis_broker)
        run_chain(here.agentq, JOBS)
        assert gates.pids(TRANSACTION).count(child) - transactions == 2 * JOBS
        assert published(redis_broker) - messages == JOBS
