"""A worker is asked to stop at once while the ledger is down: what it ran is given back, or counts as lost."""

from __future__ import annotations

import os
import signal
import time

from agentq import Workflow
from tests.runtime.queries import history, job_of, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, Worker, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.processes import is_running
from tests.support.steps import meet

LONG, SHORT = 20.0, 3.0
"""Seconds of a lease."""
TIMEOUT = 1.0
"""Seconds that one statement may take."""
ATTEMPTS = meet.policy.attempts


def settings(lease: float) -> dict[str, float]:
    return {"lease": lease, "ledger_timeout": TIMEOUT, "redispatch_after": 0.5}


@covers(Fault.LEDGER_DOWN, Phase.BODY)
@covers(Fault.STOP, Phase.BODY)
def test_a_worker_that_is_stopped_at_once_in_an_outage_gives_back_what_it_ran_when_that_ends_within_a_lease(
    postgres: Postgres, gates: Gates
) -> None:
    with redis_server() as broker, stack(broker, postgres.url, settings=settings(LONG)) as at:
        workflow = at.agentq.start(meet.s(1, str(gates.folder), "gate"))
        gates.await_reached("gate")
        postgres.stop()
        os.kill(at.worker.pid, signal.SIGQUIT)
        eventually(lambda: not is_running(gates.pids("gate")[0]), 20, what="the end of the step's process")
        began_at = time.monotonic()
        eventually(lambda: time.monotonic() - began_at > 5 * TIMEOUT, what="longer than one statement may take")
        postgres.start()
        eventually(lambda: not at.worker.is_alive, 20, what="the worker's end")
        finish_elsewhere(at, workflow, gates)
        assert (history(workflow), attempts_left(workflow)) == (["released", "succeeded"], ATTEMPTS - 1)


@covers(Fault.LEDGER_DOWN, Phase.BODY)
@covers(Fault.STOP, Phase.BODY)
def test_an_attempt_of_a_worker_stopped_at_once_in_an_outage_longer_than_its_lease_is_lost(
    postgres: Postgres, gates: Gates
) -> None:
    """The ledger cannot distinguish it from a worker that its own step killed, which must not go on for ever."""
    with redis_server() as broker, stack(broker, postgres.url, settings=settings(SHORT)) as at:
        workflow = at.agentq.start(meet.s(1, str(gates.folder), "gate"))
        gates.await_reached("gate")
        postgres.stop()
        at.worker.terminate(30, signal.SIGQUIT)
        assert "could not sign off" in at.worker.log()
        postgres.start()
        finish_elsewhere(at, workflow, gates)
        assert (history(workflow), attempts_left(workflow)) == (["lost", "succeeded"], ATTEMPTS - 2)


def finish_elsewhere(at: Stack, workflow: Workflow[int], gates: Gates) -> None:
    """Let another worker end the workflow, whose step waits at its gate again."""
    with Worker(at.broker, at.ledger_url, settings=settings(SHORT)):
        gates.await_reached("gate", 2)
        gates.open("gate")
        assert workflow.result(20) == 1
    require_sound(at.agentq)


def attempts_left(workflow: Workflow[int]) -> int:
    job = job_of(workflow)
    return job.max_attempts - job.attempt
