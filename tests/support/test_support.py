"""The helpers themselves: a worker comes up on each broker, runs, can be held, frozen, killed and ended."""

from __future__ import annotations

import os

import pytest

from agentq.states import WorkflowStatus
from tests.support import Broker, Gates, Worker, client
from tests.support.steps import add, count, flaky, later, meet, plain, total, whoami


@pytest.mark.parametrize("fixture", ["redis_broker", "rabbitmq_broker"])
def test_a_worker_runs_what_the_client_starts(
    fixture: str, ledger_url: str, request: pytest.FixtureRequest
) -> None:
    broker: Broker = request.getfixturevalue(fixture)
    with Worker(broker, ledger_url) as worker, client(broker, ledger_url) as agentq:
        assert agentq.start(add.s(1, 2) | later.s() | plain.s()).result(20) == 3
        assert flaky.delay("x", failures=1).result(20) == "x"
        assert whoami.delay().result(20)["step"] == whoami.name
        assert worker.terminate() == 0
    assert "flaky" in worker.log()


def test_a_step_waits_at_its_gate_and_dies_with_its_worker(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    settings = {"lease": 2, "redispatch_after": 0.5}
    with client(redis_broker, ledger_url) as agentq:
        with Worker(redis_broker, ledger_url, settings=settings) as first:
            workflow = agentq.start(meet.s(5, folder, "gate") | count.s(folder, "after"))
            gates.await_reached("gate")
            os.kill(gates.pids("gate")[0], 0)
            assert workflow.status == WorkflowStatus.RUNNING
            first.kill()
        gates.open("gate")
        with Worker(redis_broker, ledger_url, settings=settings, pool="threads"):
            assert workflow.result(30) == 5
    assert (gates.reached("gate"), gates.reached("after")) == (2, 1)


def test_a_frozen_worker_does_nothing_until_it_is_thawed(redis_broker: Broker, ledger_url: str) -> None:
    with Worker(redis_broker, ledger_url, pool="solo") as worker, client(redis_broker, ledger_url) as agentq:
        worker.freeze()
        workflow = agentq.start(total.s([1, 2]))
        assert not workflow.ready()
        worker.thaw()
        assert workflow.result(20) == 3


def test_a_killed_redis_comes_back_empty_at_its_address(redis_broker: Broker) -> None:
    with redis_broker.redis as redis:
        redis.set("a", "1")
    redis_broker.kill()
    redis_broker.start()
    with redis_broker.redis as redis:
        assert redis.get("a") is None


def test_the_log_of_a_worker_is_part_of_the_failure(redis_broker: Broker, ledger_url: str) -> None:
    with pytest.raises(AssertionError, match="something else") as failure:
        fail_beside_a_worker(redis_broker, ledger_url)
    assert any("ready." in note for note in failure.value.__notes__)


def fail_beside_a_worker(broker: Broker, ledger_url: str) -> None:
    with Worker(broker, ledger_url):
        raise AssertionError("something else")
