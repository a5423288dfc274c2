"""A message that a worker took and never ran, whose broker keeps nothing of it, is sent again."""

from __future__ import annotations

import json
from contextlib import ExitStack

from redis import Redis

from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import count

FROZEN = 3
PATIENT = ("--", f"broker.transport_options=(dict){json.dumps({'polling_interval': 600})}")


def blocked(redis: Redis) -> bool:
    """Say if each frozen worker waits for a message in a BRPOP."""
    return int(redis.info("clients")["blocked_clients"]) == FROZEN


def freeze(workers: list[Worker]) -> None:
    for worker in workers:
        worker.freeze()


def holds_nothing(broker: Broker, redis: Redis) -> bool:
    return broker.waiting() == redis.hlen("unacked") == 0


@on_sqlite
@covers(Fault.FREEZE, Phase.IDLE)
@covers(Fault.LOSE_MESSAGE, Phase.DISPATCH, Phase.IDLE)
def test_messages_swallowed_by_frozen_idle_workers_run_on_another(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, redis_broker.redis as redis, ExitStack() as stack:
        frozen = [
            stack.enter_context(worker_of(redis_broker, ledger_url, 1, pool="solo", arguments=PATIENT))
            for _ in range(FROZEN)
        ]
        eventually(lambda: blocked(redis), what="idle workers")
        agentq.ledger.write(lambda _: freeze(frozen))  # none of them in a transaction
        assert blocked(redis)
        swallowed = [agentq.start(count.s(number, str(gates.folder), "ran")) for number in range(FROZEN)]
        assert holds_nothing(redis_broker, redis)
        *dead, thawed = frozen
        for worker in dead:
            worker.kill()
        assert holds_nothing(redis_broker, redis), "Redis has the messages of dead workers after all"
        with worker_of(redis_broker, ledger_url):
            assert [workflow.result(30) for workflow in swallowed] == list(range(FROZEN))
            thawed.thaw()
            eventually(lambda: "is succeeded already: message dropped" in thawed.log(), what="a late message")
        assert gates.reached("ran") == FROZEN
        assert ran_once(*swallowed)
        require_sound(agentq)
