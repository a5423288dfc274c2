"""A RabbitMQ that is short of memory takes no messages until that is over: nobody hangs, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Gates, client, eventually
from tests.support.rabbitmq_node import Node
from tests.support.steps import add, meet

SLOTS, STARTS = 3, 5


@contextmanager
def short_of_memory(node: Node) -> Iterator[None]:
    node.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.0001).")
    eventually(lambda: node.evaluate("length(rabbit_alarm:get_alarms()).") == "1", 20, what="an alarm")
    yield
    node.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.9).")


@pytest.mark.long
@on_sqlite
def test_an_alarm_holds_up_no_start_and_loses_nothing(own_rabbitmq: Node, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    with client(own_rabbitmq, ledger_url) as agentq, worker_of(own_rabbitmq, ledger_url, SLOTS) as worker:
        held = [agentq.start(meet.s(number, folder, "gate") | add.s(1)) for number in range(SLOTS)]
        gates.await_reached("gate", SLOTS)
        with short_of_memory(own_rabbitmq):
            gates.open("gate")
            before = time.monotonic()
            late = [agentq.start(add.s(number, 1)) for number in range(STARTS)]
            assert time.monotonic() - before < STARTS
            eventually(lambda: all(workflow.jobs()[0].finished_at for workflow in held), 20, what="outcomes")
        assert [workflow.result(40) for workflow in (*held, *late)] == [1, 2, 3, 1, 2, 3, 4, 5]
        assert ran_once(*held, *late)
        full = [agentq.start(meet.s(number, folder, "all")) for number in range(SLOTS)]
        gates.await_reached("all", SLOTS)
        gates.open("all")
        assert [workflow.result(30) for workflow in full] == [0, 1, 2]
        assert worker.is_alive
        require_sound(agentq)
