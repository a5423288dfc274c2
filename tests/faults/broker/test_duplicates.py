"""A message that comes more than once starts nothing: not while the step runs, not after, not a thousand times."""

from __future__ import annotations

import json
import re

from celery import group

from tests.faults.broker.shared import copied_message, depth, on_sqlite, ran_once, worker_of
from tests.runtime.queries import job_of, require_sound
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, count, meet, total

SHORT = {"visibility_timeout": 1, "unacked_restore_interval": 0.2, "unacked_restore_throttle": 1}
RUNNING, SUCCEEDED = "is running already: message dropped", "is succeeded already: message dropped"


def dropped(worker: Worker, why: str) -> int:
    """The number of messages; the caretaker of a slow worker may have sent one more than the test."""
    return worker.log().count(why)


@on_sqlite
@covers(Fault.DUPLICATE, Phase.BODY, Phase.CLAIM)
def test_a_step_longer_than_the_visibility_timeout_runs_once(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    options = ("--", f"broker.transport_options=(dict){json.dumps(SHORT)}")
    with client(redis_broker, ledger_url) as agentq:
        workflow = agentq.start(meet.s(5, str(gates.folder), "gate") | add.s(1))
        deliver_again = copied_message(agentq, redis_broker)
        with worker_of(redis_broker, ledger_url, arguments=options) as worker, redis_broker.redis as redis:
            gates.await_reached("gate")
            assert redis.hlen("unacked") == 0  # nothing that this worker could be given again
            deliver_again(1)  # as another's worker would have it done
            eventually(lambda: dropped(worker, RUNNING) >= 1, 20, what="a message that was delivered again")
            gates.open("gate")
            assert workflow.result(20) == 6
        assert gates.reached("gate") == 1
        assert ran_once(workflow)
        require_sound(agentq)


@on_sqlite
@covers(Fault.DUPLICATE, Phase.BODY, Phase.COMPLETION, Phase.HAND_OVER)
def test_a_message_that_is_replayed_starts_nothing(any_broker: Broker, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    with client(any_broker, ledger_url) as agentq:
        canvas = meet.s(1, folder, "first") | meet.s(folder, "second") | count.s(folder, "third")
        workflow = agentq.start(canvas)
        replay = copied_message(agentq, any_broker)
        with worker_of(any_broker, ledger_url) as worker:
            gates.await_reached("first")
            replay(3)
            eventually(lambda: dropped(worker, RUNNING) >= 3, 30, what="three copies of a running job")
            gates.open("first")
            gates.await_reached("second")
            replay(3)
            eventually(lambda: dropped(worker, SUCCEEDED) >= 3, 30, what="three copies of a job that is done")
            gates.open("second")
            assert workflow.result(20) == 1
            replay(3)
            eventually(lambda: dropped(worker, SUCCEEDED) >= 6, 30, what="three copies after the end")
            eventually(lambda: depth(agentq, any_broker) == 0, what="an empty queue")
        assert ran_once(workflow)
        assert [gates.reached(name) for name in ("first", "second", "third")] == [1, 1, 1]
        require_sound(agentq)


@on_sqlite
@covers(Fault.DUPLICATE, Phase.DISPATCH, Phase.CLAIM, Phase.BODY)
def test_a_worker_lives_through_a_thousand_duplicates(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        copied_message(agentq, redis_broker)(1000)
        with worker_of(redis_broker, ledger_url) as worker:
            gates.await_reached("gate")
            eventually(lambda: dropped(worker, RUNNING) >= 1000, 60, what="a thousand dropped messages")
            assert job_of(workflow).attempt == 1
            gates.open("gate")
            assert workflow.result(20) == "done"
            assert agentq.start(add.s(1, 2)).result(20) == 3
            assert worker.is_alive
        assert gates.reached("gate") == 1
        assert ran_once(workflow)
        require_sound(agentq)


@on_sqlite
@covers(Fault.DUPLICATE, Phase.HAND_OVER, Phase.FAN_OUT)
def test_duplicates_do_not_multiply_the_messages_of_what_follows(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    copies, width = 10, 20
    with client(redis_broker, ledger_url) as agentq:
        header = group(add.s(number) for number in range(width))
        workflow = agentq.start(meet.s(1, str(gates.folder), "gate") | header | total.s())
        copy = copied_message(agentq, redis_broker)
        with worker_of(redis_broker, ledger_url, 1) as worker:
            gates.await_reached("gate")
            copy(copies)  # come after the step and before what follows it
            gates.open("gate")
            assert workflow.result(40) == sum(range(width)) + width
            eventually(lambda: depth(agentq, redis_broker) == 0, 20, what="an empty queue")
            received = len(re.findall(rf"Task {re.escape(add.name)}\S+ received", worker.log()))
        assert received <= 3 * width, "each copy sent all that follows once more"
        assert ran_once(workflow)
        require_sound(agentq)
