"""A transaction that is ended in its middle is run again: after a restart, a lost connection, a conflict.

The middle is forced: the transaction waits for a row that the test holds.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from celery import Signature, group

from agentq import each
from agentq.ledger.db.session import Ledger
from agentq.runtime.workflow import Workflow
from agentq.states import FAN_INS, RUNNABLE
from tests.faults.ledger import locks
from tests.runtime.queries import history, job_of, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, redis_server
from tests.support.fake_worker import FakeWorker
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.steps import add, count, meet, total

SETTINGS = {"lease": 4, "ledger_timeout": 2, "redispatch_after": 0.5}

COMPLETIONS: dict[str, Callable[[str], Signature]] = {
    "one statement": lambda folder: group(meet.s(1, folder, "gate"), add.s(1, 1)) | total.s(),
    "transaction": lambda folder: meet.s([1, 2], folder, "gate") | each(add.s(0)) | total.s(),
}
"""Canvases whose first job waits at a gate and hands over to a join or an each; all result in 3."""
INTERRUPTS: dict[str, Callable[[Postgres], object]] = {
    "server restarted": Postgres.restart,
    "connections ended": locks.end_connections,
}
each_completion = pytest.mark.parametrize("canvas", COMPLETIONS.values(), ids=COMPLETIONS)
each_interrupt = pytest.mark.parametrize("interrupt", INTERRUPTS.values(), ids=INTERRUPTS)
Interrupt = Callable[[Postgres], object]
Canvas = Callable[[str], Signature]


@pytest.fixture(scope="module")
def running(shared_postgres: Postgres) -> Iterator[Stack]:
    """One worker for the module."""
    with redis_server() as broker, stack(broker, shared_postgres.url, settings=SETTINGS) as at:
        yield at


@pytest.fixture
def at(running: Stack, postgres: Postgres) -> Iterator[Stack]:
    """The place of one test, sound at its end."""
    yield running
    assert running.worker.is_alive
    require_sound(running.agentq)


def held_before_completion(at: Stack, canvas: Canvas, gates: Gates) -> tuple[Workflow[int], uuid.UUID]:
    """A workflow whose first job is at its gate, and the id of the job that its completion changes."""
    workflow: Workflow[int] = at.agentq.start(canvas(str(gates.folder)))
    gates.await_reached("gate")
    others = [job.id for job in workflow.jobs() if job.kind in FAN_INS]
    eventually(lambda: _others_are_done(workflow), what="the end of the group's other member")
    return workflow, others[0]


def _others_are_done(workflow: Workflow[int]) -> bool:
    return all(job.status != "queued" for job in workflow.jobs()) and len(_running(workflow)) == 1


def _running(workflow: Workflow[int]) -> list[uuid.UUID]:
    return [job.id for job in workflow.jobs() if job.status == "running"]


def require_one_completion(workflow: Workflow[int], gates: Gates) -> None:
    assert workflow.result(20) == 3
    assert gates.reached("gate") == 1
    for job in workflow.jobs():
        assert [attempt.outcome for attempt in job.attempts] == (["succeeded"] if job.kind in RUNNABLE else [])


@covers(Fault.LEDGER_DOWN, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
@covers(Fault.CUT_LEDGER, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
@each_interrupt
@each_completion
def test_an_interrupted_completion_is_one(
    at: Stack, postgres: Postgres, gates: Gates, canvas: Canvas, interrupt: Interrupt
) -> None:
    workflow, next_id = held_before_completion(at, canvas, gates)
    with locks.locked_job(postgres, next_id):
        gates.open("gate")
        locks.await_waiting(postgres)
        interrupt(postgres)
    require_one_completion(workflow, gates)


@covers(Fault.LEDGER_DOWN, Phase.CLAIM)
@covers(Fault.CUT_LEDGER, Phase.CLAIM)
@each_interrupt
def test_an_interrupted_claim_is_one_attempt(
    at: Stack, postgres: Postgres, gates: Gates, interrupt: Interrupt
) -> None:
    at.worker.freeze()
    workflow = at.agentq.start(count.s("done", str(gates.folder), "body"))
    with locks.locked_job(postgres, job_of(workflow).id):
        at.worker.thaw()
        locks.await_waiting(postgres)
        interrupt(postgres)
    assert workflow.result(20) == "done"
    assert (history(workflow), job_of(workflow).attempt) == (["succeeded"], 1)
    assert gates.reached("body") == 1


@covers(Fault.LEDGER_DOWN, Phase.SWEEP)
@covers(Fault.CUT_LEDGER, Phase.SWEEP)
@each_interrupt
def test_an_interrupted_rescue_is_made_by_a_later_sweep(
    at: Stack, postgres: Postgres, gates: Gates, interrupt: Interrupt
) -> None:
    ledger = Ledger(postgres.url)
    dead = FakeWorker(ledger)
    claimed = dead.begin(count.s("done", str(gates.folder), "body"))
    with locks.transaction(postgres) as mine:
        # The rescue's own line of history, so that the rescue waits for what becomes of this one.
        mine.execute(
            "INSERT INTO agentq_attempts (job_id, number, outcome, worker_id, started_at, finished_at) "
            "VALUES (%s, %s, 'lost', %s, now(), now())",
            [claimed.job_id, claimed.attempt, claimed.worker_id],
        )
        dead.renew(-1)
        ledger.close()
        locks.await_waiting(postgres)
        interrupt(postgres)
    workflow = at.agentq.workflow(str(claimed.workflow_id))
    assert workflow.result(20) == "done"
    assert (history(workflow), gates.reached("body")) == (["lost", "succeeded"], 1)


@covers(Fault.CONFLICT, Phase.COMPLETION, Phase.HAND_OVER)
@each_completion
def test_the_completion_that_loses_a_deadlock_is_run_again(
    at: Stack, postgres: Postgres, gates: Gates, canvas: Canvas
) -> None:
    workflow, next_id = held_before_completion(at, canvas, gates)
    (mine_id,), logged = _running(workflow), len(postgres.log())
    with locks.locked_job(postgres, next_id) as other:
        other.execute(
            "SET deadlock_timeout = '1min'"
        )  # the worker finds the deadlock, so it is the one that loses
        gates.open("gate")
        locks.await_waiting(postgres)
        locks.lock_job(other, mine_id)
        assert "deadlock detected" in postgres.log()[logged:]
    require_one_completion(workflow, gates)


@covers(Fault.CONFLICT, Phase.COMPLETION, Phase.HAND_OVER)
@each_completion
def test_a_completion_outlives_a_lock_longer_than_its_timeout(
    at: Stack, postgres: Postgres, gates: Gates, canvas: Canvas
) -> None:
    workflow, next_id = held_before_completion(at, canvas, gates)
    logged = len(postgres.log())
    with locks.locked_job(postgres, next_id):
        gates.open("gate")
        eventually(lambda: "canceling statement due to" in postgres.log()[logged:], what="a wait that was ended")
    require_one_completion(workflow, gates)
