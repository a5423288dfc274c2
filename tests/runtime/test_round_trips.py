"""The cost of one job of a chain, or of a line: two round trips to the ledger, and one message."""

from __future__ import annotations

from pathlib import Path

from celery import chain

from agentq import AgentQ
from tests.runtime.slot_steps import call
from tests.runtime.stack import migrated_ledger, stack
from tests.runtime.tracing import FOLDER, TRANSACTION
from tests.support import Broker, Gates
from tests.support.proxy import Proxy
from tests.support.steps import add, whoami

JOBS, LINE = 20, 200
ENDS = LINE // 20
"""Round trips at the beginning and the end of a line, where no job takes a slot over."""
SETTLED = 30
"""Jobs after which the driver has prepared its statements, which takes one more round trip each."""


def run_chain(agentq: AgentQ, length: int) -> None:
    first = add.s(0, 1)
    assert agentq.start(chain(first, *(add.s(1) for _ in range(length - 1)))).result(60) == length


def test_a_job_takes_two_round_trips_to_postgresql_and_one_message(redis_broker: Broker, tmp_path: Path) -> None:
    with (
        migrated_ledger("postgresql", tmp_path) as url,
        Proxy(url) as proxy,
        stack(redis_broker, proxy.url, concurrency=1, arguments=("-I", "tests.runtime.patient")) as here,
    ):
        run_chain(here.agentq, SETTLED)
        child = here.agentq.start(whoami.s()).result(20)["pid"]
        trips, messages = proxy.round_trips(child), redis_broker.published()
        run_chain(here.agentq, JOBS)
        assert proxy.round_trips(child) - trips == 2 * JOBS
        assert redis_broker.published() - messages == JOBS


def test_a_job_that_takes_a_slot_over_costs_no_more_round_trips_nor_messages(
    redis_broker: Broker, tmp_path: Path, gates: Gates
) -> None:
    def run_line(length: int) -> None:
        workflows = here.agentq.start_many([call.s(str(gates.folder)) for _ in range(length)])
        assert [workflow.result(60) for workflow in workflows] == [1] * length

    gates.open("call")
    arguments = ("-I", "tests.runtime.patient,tests.runtime.slot_steps")
    with (
        migrated_ledger("postgresql", tmp_path) as url,
        Proxy(url) as proxy,
        stack(redis_broker, proxy.url, concurrency=1, arguments=arguments) as here,
    ):
        run_line(SETTLED)
        child = here.agentq.start(whoami.s()).result(20)["pid"]
        trips, messages = proxy.round_trips(child), redis_broker.published()
        run_line(LINE)
        here.agentq.start(whoami.s()).result(20)  # the last one has given its slot back
        assert proxy.round_trips(child) - trips <= ENDS + 2 * (LINE + 1)
        assert redis_broker.published() - messages == LINE + 1


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
        transactions, messages = gates.pids(TRANSACTION).count(child), redis_broker.published()
        run_chain(here.agentq, JOBS)
        assert gates.pids(TRANSACTION).count(child) - transactions == 2 * JOBS
        assert redis_broker.published() - messages == JOBS
