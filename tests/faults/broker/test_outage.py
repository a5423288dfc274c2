"""The broker goes down while steps run, are queued, are due and are started; all ends once it is back."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Timer
from typing import Any

import pytest
from celery import group

from agentq import AgentQ, each
from agentq.runtime.workflow import Workflow
from agentq.states import JobStatus
from tests.faults.broker.shared import depth, on_sqlite, ran_once, worker_of
from tests.faults.broker.steps import retry_behind
from tests.runtime.queries import history, job_of, ledger_time, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.rabbitmq_node import Node
from tests.support.steps import add, count, meet, total

HELD, QUEUED = 5, 3


def kill(broker: Broker) -> None:
    broker.kill()


def stop(node: Node) -> None:
    node.stop()


WAYS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "Redis killed": ("redis_broker", kill),
    "RabbitMQ killed": ("own_rabbitmq", kill),
    "RabbitMQ stopped": ("own_rabbitmq", stop),
}


def held_at_the_gate(agentq: AgentQ, folder: str) -> dict[Workflow[Any], Any]:
    """Start workflows whose first steps fill the worker; return each with the result that it must have."""
    canvases = [
        (meet.s(1, folder, "gate") | add.s(10), 11),
        (meet.s([1, 2], folder, "gate") | each(add.s(1)) | total.s(), 5),
        (group(meet.s(3, folder, "gate"), meet.s(4, folder, "gate")) | total.s(), 7),
        (retry_behind.s("again", folder, "gate"), "again"),
    ]
    return {agentq.start(canvas): result for canvas, result in canvases}


def is_queued(workflow: Workflow[Any]) -> bool:
    return job_of(workflow).status is JobStatus.QUEUED


def waits_for_the_broker(workflow: Workflow[Any]) -> bool:
    """Say if a job of the workflow is done and another could run if only its message could be published."""
    found = {job.status for job in workflow.jobs()}
    return JobStatus.QUEUED in found and JobStatus.RUNNING not in found


@on_sqlite
@pytest.mark.parametrize("way", WAYS)
@covers(
    Fault.BROKER_DOWN,
    *(Phase.START, Phase.DISPATCH, Phase.BODY, Phase.COMPLETION, Phase.HAND_OVER, Phase.ACKNOWLEDGE),
    *(Phase.FAN_OUT, Phase.FAN_IN, Phase.RETRY, Phase.SWEEP),
)
def test_all_ends_after_an_outage(way: str, ledger_url: str, gates: Gates, request: pytest.FixtureRequest) -> None:
    fixture, take_down = WAYS[way]
    broker: Broker = request.getfixturevalue(fixture)
    folder = str(gates.folder)
    with client(broker, ledger_url) as agentq, worker_of(broker, ledger_url, HELD) as worker:
        held = held_at_the_gate(agentq, folder)
        gates.await_reached("gate", HELD)
        queued = [agentq.start(count.s(number, folder, "ran")) for number in range(QUEUED)]
        due = agentq.start(add.s(1, 1), not_before=ledger_time(agentq) + timedelta(seconds=1))
        take_down(broker)
        before = time.monotonic()
        late = agentq.start(add.s(1, 2) | add.s(3))
        assert time.monotonic() - before < 1
        gates.open("gate")
        eventually(lambda: all(waits_for_the_broker(workflow) for workflow in held), 20, what="hand-overs")
        eventually(lambda: is_queued(due), what="a job that became due without a broker")
        assert gates.reached("ran") == 0

        broker.start()
        assert [workflow.result(40) for workflow in held] == list(held.values())
        assert [workflow.result(40) for workflow in (*queued, due, late)] == [0, 1, 2, 2, 6]
        *others, retried = held
        assert ran_once(*others, *queued, due, late)
        assert history(retried) == ["retried", "succeeded"]
        assert (gates.reached("gate"), gates.reached("ran")) == (HELD, QUEUED)
        assert worker.is_alive
        eventually(lambda: depth(agentq, broker) == 0, what="an empty queue")
        require_sound(agentq)


@on_sqlite
@covers(Fault.BROKER_DOWN, Phase.SWEEP)
@covers(Fault.KILL_WORKER, Phase.BODY)
def test_a_worker_that_dies_in_an_outage_loses_nothing(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1, lease=2) as first:
        workflow = agentq.start(meet.s(1, str(gates.folder), "gate") | add.s(1))
        gates.await_reached("gate")
        with worker_of(redis_broker, ledger_url, 1, lease=2):
            redis_broker.kill()
            first.kill()
            gates.open("gate")
            eventually(lambda: history(workflow) == ["lost"] and is_queued(workflow), 20, what="a rescue")
            redis_broker.start()
            assert workflow.result(30) == 2
        assert history(workflow) == ["lost", "succeeded"]
        require_sound(agentq)


@on_sqlite
@covers(Fault.BROKER_DOWN, Phase.START)
def test_a_start_does_not_wait_for_a_broker_that_hangs(redis_broker: Broker, ledger_url: str) -> None:
    assert redis_broker.process is not None
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1):
        assert agentq.start(add.s(1, 1)).result(20) == 2  # so the client has a connection
        redis_broker.process.send_signal(signal.SIGSTOP)
        thaw = Timer(10, redis_broker.process.send_signal, (signal.SIGCONT,))
        thaw.start()
        before = time.monotonic()
        workflow = agentq.start(add.s(1, 2))
        took = time.monotonic() - before
        thaw.cancel()
        redis_broker.process.send_signal(signal.SIGCONT)
        assert workflow.result(20) == 3
        assert took < 5
        require_sound(agentq)
