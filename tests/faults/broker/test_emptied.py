"""A broker that forgets everything, while steps run and many more wait, loses no job and runs none twice."""

from __future__ import annotations

import pytest
from celery import group

from agentq import AgentQ
from tests.faults.broker.shared import depth, on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, count, meet

RUNNING, QUEUED = 4, 100


def flush(agentq: AgentQ, broker: Broker) -> None:
    with broker.redis as redis:
        redis.flushall()


def purge(agentq: AgentQ, broker: Broker) -> None:
    with agentq.app.connection_for_write() as connection:
        assert connection.default_channel.queue_purge(broker.queue) >= QUEUED - RUNNING


def delete(agentq: AgentQ, broker: Broker) -> None:
    with agentq.app.connection_for_write() as connection:
        connection.default_channel.queue_delete(broker.queue)


WAYS = {
    "FLUSHALL": ("redis_broker", flush),
    "purged": ("rabbitmq_broker", purge),
    "deleted": ("rabbitmq_broker", delete),
}


@on_sqlite
@pytest.mark.parametrize("way", WAYS)
@covers(Fault.FLUSH, Phase.DISPATCH, Phase.BODY, Phase.HAND_OVER)
def test_flushall_loses_no_job(way: str, ledger_url: str, gates: Gates, request: pytest.FixtureRequest) -> None:
    fixture, empty = WAYS[way]
    broker: Broker = request.getfixturevalue(fixture)
    folder = str(gates.folder)
    with client(broker, ledger_url) as agentq, worker_of(broker, ledger_url, RUNNING) as worker:
        running = [agentq.start(meet.s(number, folder, "gate") | add.s(1000)) for number in range(RUNNING)]
        gates.await_reached("gate", RUNNING)
        queued = agentq.start(group(count.s(number, folder, "ran") for number in range(QUEUED)))
        eventually(lambda: depth(agentq, broker) >= QUEUED - RUNNING, what="messages in the queue")
        empty(agentq, broker)
        gates.open("gate")
        assert [workflow.result(30) for workflow in running] == [1000 + number for number in range(RUNNING)]
        assert queued.result(30) == list(range(QUEUED))
        assert (gates.reached("gate"), gates.reached("ran")) == (RUNNING, QUEUED)
        assert ran_once(*running, queued)
        assert worker.is_alive
        require_sound(agentq)
