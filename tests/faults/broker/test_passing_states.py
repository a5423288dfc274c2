"""States of a Redis that pass: it is a replica, it has no room. Workers wait, and are whole again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentq.runtime.depths import depths
from tests.faults.broker.scene import on_sqlite, ran_once, worker_of
from tests.runtime.looks import require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.steps import add, meet


def demote(redis: Any) -> None:
    redis.replicaof("127.0.0.1", "1")
    redis.client_kill_filter(_type="normal", skipme=True)


def fill(redis: Any) -> None:
    redis.config_set("maxmemory", "1")


WAYS: dict[str, tuple[Callable[[Any], None], Callable[[Any], None]]] = {
    "a replica": (demote, lambda redis: redis.replicaof("NO", "ONE")),
    "no room": (fill, lambda redis: redis.config_set("maxmemory", "0")),
}


@on_sqlite
@pytest.mark.parametrize("way", WAYS)
def test_a_worker_is_whole_again_after_it(way: str, redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    begin, end = WAYS[way]
    folder = str(gates.folder)
    with (
        client(redis_broker, ledger_url) as agentq,
        worker_of(redis_broker, ledger_url) as worker,
        redis_broker.redis as redis,
    ):
        held = agentq.start(meet.s(1, folder, "gate") | add.s(1))
        gates.await_reached("gate")
        begin(redis)
        late = agentq.start(add.s(1, 1))
        gates.open("gate")
        eventually(lambda: "takes no messages" in worker.log(), 20, what="a word about the outage")
        end(redis)
        assert (held.result(30), late.result(30)) == (2, 2)
        assert ran_once(held, late)
        assert worker.is_alive
        require_sound(agentq)


@on_sqlite
def test_queues_are_seen_under_their_prefix(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq:
        agentq.app.conf.broker_transport_options = {"global_keyprefix": "mine:", "sep": "|"}
        agentq.start(add.s(1, 1), priority=2)
        assert agentq.dispatcher.takes(redis_broker.queue)
        assert depths(agentq.app, [redis_broker.queue, "none"]) == {redis_broker.queue: 1, "none": 0}
        with redis_broker.redis as redis:
            assert redis.llen(f"mine:{redis_broker.queue}|7") == 1
