"""Limits on real workers: never more bodies at once than slots, and no message more than without limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from agentq import each
from agentq.ledger.models import LimitRow
from tests.runtime.slot_steps import (
    CALLS,
    ITEMS,
    LOOPS,
    NAMED,
    call,
    call_from_a_loop,
    find,
    find_one,
    handle,
    handle_named,
    most_at_once,
    search_on_a_loop,
)
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Broker, Gates, eventually, redis_server
from tests.support.steps import numbers, total

KNOWN = ("-I", "tests.runtime.slot_steps")
TENANTS, OF_EACH = ("ant", "bee", "cow"), 20
MANY = 200


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker of eight processes for the module."""
    folder: Path = tmp_path_factory.mktemp("slots")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, concurrency=8, settings={"redispatch_after": 60}, arguments=KNOWN) as running,
    ):
        yield running


def used(at: Stack) -> list[int]:
    """How many slots of each limit are taken."""
    return list(at.agentq.ledger.read(lambda connection: connection.scalars(select(LimitRow.used)).all()))


@contextmanager
def watched(broker: Broker) -> Iterator[list[int]]:
    """The lengths that the broker's queue has meanwhile."""
    lengths, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.001):
            lengths.append(broker.waiting())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lengths
    finally:
        is_over.set()
        watcher.join()


def test_three_tenants_share_the_slots_of_a_limit_on_more_processes_than_slots(at: Stack, gates: Gates) -> None:
    messages = at.broker.published()
    canvases = [call.s(str(gates.folder)) for _ in range(OF_EACH)]
    workflows = [one for tenant in TENANTS for one in at.agentq.start_many(canvases, tenant=tenant)]
    gates.await_reached("call", CALLS)
    assert at.broker.published() - messages == CALLS
    gates.open("call")
    assert [workflow.result(60) for workflow in workflows] == [1] * len(workflows)
    assert most_at_once(gates.folder) == CALLS
    assert gates.reached("call") == at.broker.published() - messages == len(workflows)
    eventually(lambda: not any(used(at)), what="all slots given back")


def test_the_queue_never_holds_more_of_an_each_than_its_limit_has_slots(at: Stack, gates: Gates) -> None:
    messages = at.broker.published()
    with watched(at.broker) as lengths:
        workflow = at.agentq.start(numbers.s(MANY) | each(handle.s(str(gates.folder))) | total.s())
        gates.await_reached("handle", ITEMS)
        assert at.broker.published() - messages == 1 + ITEMS
        gates.open("handle")
        assert workflow.result(90) == sum(range(MANY))
    assert max(lengths) <= ITEMS
    assert at.broker.published() - messages == 1 + MANY + 1
    eventually(lambda: not any(used(at)), what="all slots given back")


def test_the_queue_never_holds_more_of_an_each_than_the_limit_that_its_items_name(at: Stack, gates: Gates) -> None:
    messages = at.broker.published()
    with watched(at.broker) as lengths:
        workflow = at.agentq.start(find.s(["gpt"] * MANY) | each(handle_named.s(str(gates.folder))))
        gates.await_reached("named", NAMED)
        assert at.broker.published() - messages == 1 + NAMED
        gates.open("named")
        assert workflow.result(90) == ["gpt"] * MANY
    assert max(lengths) <= NAMED
    assert at.broker.published() - messages == 1 + MANY
    eventually(lambda: not any(used(at)), what="all slots given back")


def test_a_limit_that_a_result_names_costs_one_message_and_no_attempt(at: Stack, gates: Gates) -> None:
    messages = at.broker.published()
    canvases = [find_one.s("gpt") | handle_named.s(str(gates.folder)) for _ in range(2 * NAMED)]
    workflows = at.agentq.start_many(canvases)
    # The first steps, the messages that name the limits, and those with a slot.
    eventually(lambda: at.broker.published() - messages == 5 * NAMED, what="all jobs named")
    gates.await_reached("named", NAMED)
    gates.open("named")
    assert [workflow.result(60) for workflow in workflows] == ["gpt"] * len(workflows)
    assert at.broker.published() - messages == 6 * NAMED
    assert {job.attempt for workflow in workflows for job in workflow.jobs()} == {1}
    eventually(lambda: not any(used(at)), what="all slots given back")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_a_pool_of_coroutines_runs_no_more_bodies_than_slots(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with stack(redis_broker, ledger_url, pool="asyncio", concurrency=50, arguments=KNOWN) as at:
        workflows = at.agentq.start_many([call_from_a_loop.s(str(gates.folder)) for _ in range(20)])
        gates.await_reached("loop", LOOPS)
        assert redis_broker.published() == LOOPS
        gates.open("loop")
        assert [workflow.result(40) for workflow in workflows] == [1] * 20
        assert most_at_once(gates.folder) == LOOPS


def test_calls_on_an_event_loop_share_the_slot_of_their_limit(at: Stack, gates: Gates) -> None:
    workflows = at.agentq.start_many([search_on_a_loop.s(number, str(gates.folder)) for number in range(8)])
    assert [workflow.result(60) for workflow in workflows] == list(range(8))
    assert most_at_once(gates.folder) == 1
    eventually(lambda: not any(used(at)), what="all slots given back")
