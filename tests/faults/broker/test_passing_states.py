"""States of a Redis that pass: it is a replica, it has no room, it is busy. Workers wait, and are whole again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from agentq.runtime.dispatch.depths import depths
from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.steps import add, meet

SLOTS = 3
LOADED_FOR = 3.0
"""Seconds for which a Redis reads what it had saved."""


@contextmanager
def a_replica(broker: Broker) -> Iterator[None]:
    with broker.redis as redis:
        redis.replicaof("127.0.0.1", "1")
        redis.client_kill_filter(_type="normal", skipme=True)
        yield
        redis.replicaof("NO", "ONE")


@contextmanager
def no_room(broker: Broker) -> Iterator[None]:
    with broker.redis as redis:
        redis.config_set("maxmemory", "1")
        yield
        redis.config_set("maxmemory", "0")


@contextmanager
def busy_with_a_script(broker: Broker) -> Iterator[None]:
    def run() -> None:
        with suppress(RedisError), broker.redis as other:  # it is killed
            other.eval("while true do end", 0)

    with ThreadPoolExecutor(1) as threads, broker.redis as redis:
        redis.config_set("busy-reply-threshold", "50")
        threads.submit(run)
        yield
        redis.script_kill()


@contextmanager
def not_able_to_save(broker: Broker) -> Iterator[None]:
    with broker.redis as redis:
        redis.config_set("save", "3600 1")
        Path(str(redis.config_get("dir")["dir"]), "dump.rdb").mkdir()  # in the place of the file
        redis.bgsave()
        eventually(lambda: redis.info("persistence")["rdb_last_bgsave_status"] == "err", what="a save that failed")
        yield
        redis.config_set("save", "")


@contextmanager
def full_of_clients(broker: Broker) -> Iterator[None]:
    with broker.redis as redis:
        redis.config_set("maxclients", "1")
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)
        yield
        redis.config_set("maxclients", "1000")


@contextmanager
def loading(broker: Broker) -> Iterator[None]:
    keys = 30
    with broker.redis as redis:
        redis.mset({f"ballast {number}": "" for number in range(keys)})
        redis.save()
    broker.kill()
    delay = ("--key-load-delay", str(int(LOADED_FOR / keys * 1e6)))
    broker.process = subprocess.Popen([*broker.command, *delay], stdout=subprocess.DEVNULL, start_new_session=True)
    yield


STATES: dict[str, Callable[[Broker], AbstractContextManager[None]]] = {
    state.__name__.replace("_", " "): state
    for state in (a_replica, no_room, busy_with_a_script, not_able_to_save, full_of_clients, loading)
}


@pytest.mark.long
@on_sqlite
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_worker_is_whole_again_after_it(
    state: Callable[[Broker], AbstractContextManager[None]], redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, SLOTS) as worker:
        held = [agentq.start(meet.s(number, folder, "gate") | add.s(1)) for number in range(SLOTS)]
        gates.await_reached("gate", SLOTS)
        with state(redis_broker):
            late = agentq.start(add.s(1, 1))
            gates.open("gate")
            eventually(lambda: "takes no messages" in worker.log(), 20, what="a word about the outage")
        assert [workflow.result(30) for workflow in (*held, late)] == [1, 2, 3, 2]
        full = [agentq.start(meet.s(number, folder, "all")) for number in range(SLOTS)]
        gates.await_reached("all", SLOTS)
        gates.open("all")
        assert [workflow.result(30) for workflow in full] == [0, 1, 2]
        assert ran_once(*held, late, *full)
        assert worker.is_alive
        require_sound(agentq)


@on_sqlite
def test_connections_that_are_closed_as_soon_as_they_are_idle_cost_nothing(
    redis_broker: Broker, ledger_url: str
) -> None:
    with redis_broker.redis as redis:
        redis.config_set("timeout", "1")
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        for _ in range(3):
            workflow = agentq.start(add.s(1, 1) | add.s(1))
            assert workflow.result(30) == 3
            assert ran_once(workflow)
            eventually(lambda: len(clients(redis_broker)) <= 1, 20, what="connections that are closed")
        assert worker.is_alive


def clients(broker: Broker) -> list[object]:
    """The normal clients of the server that wait for nothing."""
    with broker.redis as redis:
        return [one for one in redis.client_list() if "b" not in one["flags"] and "P" not in one["flags"]]


@on_sqlite
def test_queues_are_seen_under_their_prefix(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq:
        agentq.app.conf.broker_transport_options = {"global_keyprefix": "mine:", "sep": "|"}
        agentq.start(add.s(1, 1), priority=2)
        assert agentq.dispatcher.takes(redis_broker.queue)
        assert depths(agentq.app, [redis_broker.queue, "none"]) == {redis_broker.queue: 1, "none": 0}
        with redis_broker.redis as redis:
            assert redis.llen(f"mine:{redis_broker.queue}|7") == 1
