"""A broker that is restarted again and again: no worker ends by itself, whatever it has reserved at the time."""

from __future__ import annotations

import pytest
from kombu.connection import Connection

from agentq.runtime.bridge.redis_transport import install
from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, client
from tests.support.rabbitmq_node import Node
from tests.support.steps import add, count, meet

RESTARTS = {"redis": 6, "rabbitmq": 2}
"""The number of restarts; one of a node takes processor time for seconds."""
HELD = 3


@on_sqlite
def test_no_worker_ends_by_itself(own_broker: Broker, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    restarts = RESTARTS["rabbitmq" if isinstance(own_broker, Node) else "redis"]
    with client(own_broker, ledger_url) as agentq, worker_of(own_broker, ledger_url, HELD) as worker:
        held = [agentq.start(meet.s(number, folder, "gate") | add.s(1)) for number in range(HELD)]
        gates.await_reached("gate", HELD)
        queued = []
        for number in range(restarts):
            queued.append(agentq.start(count.s(number, folder, "ran")))
            agentq.app.send_task("tests.faults.broker.steps.wait_plainly", (folder,))
            own_broker.kill()
            own_broker.start()
        gates.open("gate")
        gates.open("plain")
        assert [workflow.result(60) for workflow in (*held, *queued)] == [1, 2, 3, *range(restarts)]
        assert ran_once(*held, *queued)
        assert worker.is_alive
        assert "Unrecoverable" not in worker.log()
        require_sound(agentq)


def test_an_unacknowledged_message_of_a_lost_connection_ends_nothing(redis_broker: Broker) -> None:
    install()
    with Connection(redis_broker.url) as connection:
        queue = connection.SimpleQueue("unacknowledged")
        queue.put("plain")
        queue.get(timeout=5)
        channel = queue.channel
        channel._disconnect_pools()
        channel.connection.client = None  # as kombu leaves it, where it closes a connection that was lost
        channel.qos.restore_unacked_once()
        assert not channel.qos._delivered
        with pytest.raises(connection.connection_errors, match="connection to Redis is closed"):
            channel._put("unacknowledged", {})
