"""The next job's message is published while the completion before it is under way, however long."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from agentq.runtime.workflow import Workflow
from tests.faults.ledger import locks
from tests.faults.ledger.early_steps import STALLED, stall_ledger
from tests.runtime.queries import require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, rabbitmq, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.steps import count, meet

SETTINGS = {"redispatch_after": 600}
"""Settings without redispatch: jobs run by the messages of the worker that completed the one before."""


@pytest.fixture(scope="module", params=[redis_server, rabbitmq], ids=["redis", "rabbitmq"])
def running(request: pytest.FixtureRequest, shared_postgres: Postgres) -> Iterator[Stack]:
    """One worker with two processes, for the module."""
    options = {"settings": SETTINGS, "concurrency": 2, "arguments": ("-I", "tests.faults.ledger.early_steps")}
    with request.param() as broker, stack(broker, shared_postgres.url, **options) as at:
        yield at


def require_each_once(at: Stack, workflow: Workflow[int], gates: Gates) -> None:
    assert workflow.result(20) == 1
    assert [[attempt.outcome for attempt in job.attempts] for job in workflow.jobs()] == [["succeeded"]] * 2
    assert gates.reached("body") == 1
    require_sound(at.agentq)


@covers(Fault.CONFLICT, Phase.HAND_OVER, Phase.CLAIM)
def test_the_next_claim_waits_in_the_ledger_for_a_completion_that_waits(
    running: Stack, postgres: Postgres, gates: Gates
) -> None:
    folder = str(gates.folder)
    workflow: Workflow[int] = running.agentq.start(meet.s(1, folder, "gate") | count.s(folder, "body"))
    gates.await_reached("gate")
    _, following = workflow.jobs()
    with locks.locked_job(postgres, following.id):
        gates.open("gate")
        eventually(lambda: len(locks.waiting(postgres)) == 2, 20, what="the completion and the claim behind it")
        assert gates.reached("body") == 0
    require_each_once(running, workflow, gates)


@covers(Fault.CONFLICT, Phase.HAND_OVER)
def test_a_message_before_its_commit_is_published_again_after_it(running: Stack, gates: Gates) -> None:
    folder, logged = str(gates.folder), len(running.worker.log())
    workflow: Workflow[int] = running.agentq.start(stall_ledger.s(1, folder) | count.s(folder, "body"))
    stalled = gates.folder / STALLED
    try:
        in_vain = "is waiting yet: message dropped"
        eventually(
            lambda: in_vain in running.worker.log()[logged:], 20, what="a message that was dispatched in vain"
        )
        assert [job.status for job in workflow.jobs()] == ["running", "waiting"]
    finally:
        os.kill(int(stalled.read_text()), signal.SIGCONT)
    require_each_once(running, workflow, gates)
