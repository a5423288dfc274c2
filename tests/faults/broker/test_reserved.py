"""A worker's reserved messages: job messages in memory, since the ledger has the jobs; others in Redis too."""

from __future__ import annotations

from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.steps import meet

LATE = {"redispatch_after": 600}
"""No caretaker sends anything again in the time of a test."""


@on_sqlite
def test_a_stopped_worker_returns_the_messages_that_it_did_not_begin(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    three_at_once = ("--prefetch-multiplier=3",)
    with client(redis_broker, ledger_url) as agentq, redis_broker.redis as redis:
        workflows = [agentq.start(meet.s(number, str(gates.folder), str(number))) for number in range(3)]
        with Worker(redis_broker, ledger_url, concurrency=1, settings=LATE, arguments=three_at_once) as worker:
            gates.await_reached("0")
            eventually(lambda: redis_broker.waiting() == 0, what="all three messages in one worker")
            assert redis.hlen("unacked") == 0
            gates.open("0")
            # The second step may have begun as the first one ended; the third has not.
            worker.terminate(60)
        assert redis_broker.waiting() >= 1
        for gate in ("1", "2"):
            gates.open(gate)
        with Worker(redis_broker, ledger_url, settings=LATE):
            assert [workflow.result(30) for workflow in workflows] == [0, 1, 2]
        assert ran_once(*workflows)


@on_sqlite
def test_the_message_of_a_plain_task_is_kept_by_redis(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with (
        client(redis_broker, ledger_url) as agentq,
        worker_of(redis_broker, ledger_url),
        redis_broker.redis as redis,
    ):
        agentq.app.send_task("tests.faults.broker.steps.wait_plainly", (str(gates.folder),))
        gates.await_reached("plain")
        assert redis.hlen("unacked") == 1
        gates.open("plain")
        eventually(lambda: redis.hlen("unacked") == 0, what="the end of a plain task")
