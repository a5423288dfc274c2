"""Messages that no worker can take come while the ledger is away: they are taken, and reported when it is back."""

from __future__ import annotations

from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.states import DeadLetterKind
from tests.runtime.queries import require_sound, row_of
from tests.runtime.stack import stack
from tests.support import Broker, eventually
from tests.support.postgres import Postgres
from tests.support.steps import add

MESSAGES = 20
SETTINGS = {"lease": 12, "ledger_timeout": 1}


def is_all_taken(broker: Broker) -> bool:
    """Say whether the broker has neither a message nor one that waits to be acknowledged."""
    with broker.redis as redis:
        return broker.waiting() == 0 and redis.hlen("unacked") == 0


def test_the_consumer_does_not_wait_for_the_ledger(redis_broker: Broker, postgres: Postgres) -> None:
    with stack(redis_broker, postgres.url, settings=SETTINGS, concurrency=1) as at:
        assert at.agentq.start(add.s(1, 2)).result(20) == 3
        postgres.stop()
        for number in range(MESSAGES):
            at.agentq.app.send_task("shop.old", [number], queue=redis_broker.queue)
        eventually(lambda: "10 messages were refused" in at.worker.log(), what="half of them taken")
        eventually(lambda: is_all_taken(redis_broker), what="all acknowledged")
        postgres.start()
        eventually(lambda: row_of(at.agentq, at.worker).refused_messages >= MESSAGES, 20, what="the count")
        (letter,) = dead_letters.list_(at.agentq.ledger, DeadLetterFilter(kind=DeadLetterKind.MESSAGE))
        assert (letter.step, letter.messages) == ("shop.old", MESSAGES)
        require_sound(at.agentq)
