"""A deploy from one release to the next and back, with jobs in flight, as docs/deploying.md shows it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agentq.operations import dead_letters, health
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.runtime.workflow import Workflow
from agentq.states import AttemptOutcome
from tests.faults.broker.shared import SETTINGS
from tests.runtime import released
from tests.runtime.queries import require_sound
from tests.runtime.released import NEWER, OLDER
from tests.support import Broker, Gates, Worker, client, eventually

MODULE = "tests.runtime.rehearsed"
NOBODY = "no live worker knows step 'rehearsed.removed'; 1 live worker was asked"
RUNS = {"renamed": 12, "changed": 7, "added": 5, "removed": 1, "first": 1, "second": 1, "third": 1}
"""The number of runs of each step, for the workflows of the older release and five of each of the newer one."""


@pytest.mark.long
@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_a_deploy_with_jobs_in_flight_and_a_rollback_lose_nothing_and_repeat_nothing(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    env = {"AGENTQ_TEST_FOLDER": str(gates.folder)}
    worker_of = partial(
        released.worker_of, MODULE, broker=redis_broker, ledger_url=ledger_url, settings=SETTINGS, env=env
    )
    with client(redis_broker, ledger_url) as app:
        start = partial(released.start, MODULE, redis_broker, app)
        with worker_of(OLDER) as older:
            first, second = start(OLDER, "first | old", "second | changed")
            gates.await_reached("first")
            gates.await_reached("second")
            # The worker of the older release is busy now, and these are left to the newer one.
            in_flight = start(OLDER, "old", "changed", "third | removed")
            removed = in_flight.pop()
            with worker_of(NEWER) as newer:
                assert [workflow.result(30) for workflow in in_flight] == [2, 2]
                gates.await_reached("third")
                # Both take from the queue now, the newer one with what the held step leaves it.
                gates.open("first")
                added = start(NEWER, *["added | new", "new | changed more"] * 5)
                assert first.result(30) == 2
                stop(older, lambda: gates.open("second"))
                assert second.result(30) == 2
                assert [workflow.result(30) for workflow in added] == [3, 13] * 5
                gates.open("third")
                eventually(lambda: waits_for(removed) == f"a worker that knows it: {NOBODY}", 20, what="a wait")
                found = [finding.what for finding in health.examine(app.ledger) if finding.subject == "steps"]
                assert found == [f"1 job(s) on queue {redis_broker.queue!r} wait: {NOBODY}"]
                with worker_of(OLDER) as back:
                    assert newer.terminate() == 0
                    assert removed.result(30) == 2
                    assert back.terminate() == 0
        assert {name: gates.reached(name) for name in RUNS} == RUNS
        for workflow in (first, second, removed, *in_flight, *added):
            assert workflow.status == "succeeded"
            assert set(counted(workflow)) == {AttemptOutcome.SUCCEEDED}
            assert len(counted(workflow)) == len(workflow.jobs())
        assert dead_letters.list_(app.ledger, DeadLetterFilter(status=None)) == []
        require_sound(app)


def stop(worker: Worker, let_go: Callable[[], None]) -> None:
    """SIGTERM to all processes of a worker, as systemd sends it; only then its step may end."""
    os.killpg(worker.pid, signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in worker.log(), 20, what="a worker that was asked to stop")
    assert worker.is_alive
    let_go()
    eventually(lambda: not worker.is_alive, 60, what="the end of a worker whose step has ended")


def waits_for(workflow: Workflow[Any]) -> str | None:
    return workflow.jobs()[-1].waiting_for


def counted(workflow: Workflow[Any]) -> list[AttemptOutcome]:
    """The outcomes of all attempts of a workflow that count."""
    outcomes = [attempt.outcome for job in workflow.jobs() for attempt in job.attempts]
    return [outcome for outcome in outcomes if outcome != AttemptOutcome.RELEASED]
