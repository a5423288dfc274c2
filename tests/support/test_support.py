"""The helpers themselves: a worker comes up on each broker, runs, can be held, frozen, killed and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentq.states import WorkflowStatus
from tests.support import Broker, Gates, Worker, client
from tests.support.forked import READ_WHEN_LOADED, ROOT, Forked
from tests.support.processes import is_running
from tests.support.services import kill_group
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


def test_a_failure_shows_the_workers_log(redis_broker: Broker, ledger_url: str) -> None:
    with pytest.raises(AssertionError, match="something else") as failure:
        fail_beside_a_worker(redis_broker, ledger_url)
    assert any("ready." in note for note in failure.value.__notes__)


def fail_beside_a_worker(broker: Broker, ledger_url: str) -> None:
    with Worker(broker, ledger_url):
        raise AssertionError("something else")


DESCRIBING = """
import atexit, json, os, signal, sys, threading
reported = [__name__, sys.argv, sys.path, os.getcwd(), sorted(os.environ.items()), os.getsid(0) == os.getpid()]
reported += [sorted(os.listdir("/proc/self/fd")), [str(signal.getsignal(number)) for number in (2, 13, 15)]]
reported += [sys.stdin.read(), str(sys.stdout), os.fstat(1) == os.fstat(2), sys.flags, __file__]
print(json.dumps(reported))
atexit.register(print, "the end")
threading.Timer(0.1, print, ["a thread"]).start()
sys.exit(3)
"""


@pytest.mark.parametrize("what", [["-m", "describing"], ["{folder}/describing.py"]])
def test_a_forked_process_sees_nothing_of_the_fork(tmp_path: Path, what: list[str]) -> None:
    (tmp_path / "describing.py").write_text(DESCRIBING)
    arguments = [*(part.format(folder=tmp_path) for part in what), "ä", "b"]
    environment = {**os.environ, **READ_WHEN_LOADED, "PYTHONPATH": f"{ROOT}:/other"}
    with (tmp_path / "started").open("a") as log:
        output = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        command, place = [sys.executable, *arguments], {"cwd": tmp_path, "env": environment}
        process = subprocess.Popen(command, start_new_session=True, **output, **place)
    forked = Forked(
        arguments, loaded=("celery",), environment=environment, folder=tmp_path, output=tmp_path / "forked"
    )
    assert forked.wait(10) == process.wait(10) == 3
    assert (tmp_path / "forked").read_text() == (tmp_path / "started").read_text()


def test_a_forked_process_can_be_waited_for_and_killed(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text("import time; time.sleep(100)")
    forked = Forked(["-m", "waiting"], loaded=(), environment=os.environ, folder=tmp_path, output=tmp_path / "log")
    assert forked.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.1)
    kill_group(forked)
    assert forked.wait() == -signal.SIGKILL
    forked.send_signal(signal.SIGKILL)
    assert not is_running(forked.pid)
