"""Connections to the broker that are cut, again and again, while steps run: nothing is lost or run twice."""

from __future__ import annotations

import pytest

from tests.faults.broker.shared import depth, on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.rabbitmq_node import Node
from tests.support.steps import add, count, meet

CUTS, RUNNING, QUEUED = 3, 3, 10


def cut(broker: Broker) -> None:
    """Close every connection to the broker, idle ones, blocked ones and subscriptions alike."""
    if isinstance(broker, Node):
        broker.close_connections()
        return
    with broker.redis as redis:
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.long
@on_sqlite
@covers(Fault.CUT_BROKER, Phase.START, Phase.DISPATCH, Phase.BODY, Phase.ACKNOWLEDGE, Phase.HAND_OVER)
@covers(Fault.CUT_BROKER, Phase.IDLE)
def test_cut_connections_cost_nothing(own_broker: Broker, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    with client(own_broker, ledger_url) as agentq, worker_of(own_broker, ledger_url, RUNNING) as worker:
        running = [agentq.start(meet.s(number, folder, "gate") | add.s(10)) for number in range(RUNNING)]
        gates.await_reached("gate", RUNNING)
        queued = [agentq.start(count.s(number, folder, "ran")) for number in range(QUEUED)]
        for _ in range(CUTS):
            cut(own_broker)
            queued.append(agentq.start(count.s(len(queued), folder, "ran")))
        gates.open("gate")
        cut(own_broker)
        assert [workflow.result(30) for workflow in running] == [10, 11, 12]
        assert [workflow.result(30) for workflow in queued] == list(range(QUEUED + CUTS))
        for number in range(CUTS):
            cut(own_broker)
            idle = agentq.start(count.s(number, folder, "ran") | add.s(1))
            assert idle.result(30) == number + 1
            assert ran_once(idle)
        assert (gates.reached("gate"), gates.reached("ran")) == (RUNNING, QUEUED + 2 * CUTS)
        assert ran_once(*running, *queued)
        assert worker.is_alive
        eventually(lambda: depth(agentq, own_broker) == 0, what="an empty queue")
        require_sound(agentq)
