"""A step's own rows are written with its completion: once, or not at all."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from agentq.exceptions import InvalidArguments, StepFailed
from agentq.operations import workflows as operations
from agentq.testing import make_context
from tests.runtime.queries import history, job_of, require_sound
from tests.runtime.stack import Stack
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import echo
from tests.transactions import steps
from tests.transactions.conftest import STEPS, business


def paid(engine: Engine, what: str) -> int:
    with engine.connect() as connection:
        return steps.payments(connection, what)


@covers(Fault.KILL_WORKER, Phase.COMPLETION, Phase.HAND_OVER)
@pytest.mark.parametrize(("gate", "before", "bodies"), [("written", 0, 2), ("recorded", 1, 1)])
def test_a_worker_that_is_killed_around_the_commit_pays_once(
    redis_broker: Broker, ledger_url: str, gates: Gates, gate: str, before: int, bodies: int
) -> None:
    settings = {"lease": 2, "redispatch_after": 1}
    folder = str(gates.folder)
    if gate == "recorded":
        gates.open("written")
    with client(redis_broker, ledger_url) as agentq, business(ledger_url) as engine:
        with Worker(
            redis_broker, ledger_url, settings=settings, arguments=STEPS, env={steps.HELD: folder}
        ) as worker:
            workflow = agentq.start(steps.pay.s("rent", folder) | echo.s())
            gates.await_reached(gate)
            worker.kill()
        assert paid(engine, "rent") == before
        gates.open("written")
        with Worker(redis_broker, ledger_url, settings=settings, arguments=STEPS):
            assert workflow.result(30)["args"] == ["rent"]
        assert (paid(engine, "rent"), gates.reached("body")) == (1, bodies)
        assert history(workflow)[-1] == "succeeded"
        require_sound(agentq)


def test_a_job_that_was_lost_pays_nothing(at: Stack, engine: Engine, gates: Gates) -> None:
    workflow = at.agentq.start(steps.pay_late.s("late", str(gates.folder)))
    gates.await_reached("body")
    assert workflow.cancel("enough")
    gates.open("body")
    eventually(lambda: f"job={job_of(workflow).id} attempt=1] this worker no longer owned" in at.worker.log(), 20)
    assert paid(engine, "late") == 0


@pytest.mark.parametrize("failures", [0, 1])
def test_attempts_whose_callback_fails_leave_nothing(at: Stack, engine: Engine, failures: int) -> None:
    what = f"badly {failures}"
    workflow = at.agentq.start(steps.pay_badly.s(what, failures))
    assert workflow.result(20) == what
    assert history(workflow) == ["retried"] * failures + ["succeeded"]
    assert paid(engine, what) == 1


def test_the_last_error_of_a_callback_is_that_of_the_step(at: Stack, engine: Engine) -> None:
    workflow = at.agentq.start(steps.pay_badly.s("never", 2))
    with pytest.raises(StepFailed, match="failure 2") as failure:
        workflow.result(20)
    assert (failure.value.error_class, history(workflow)) == ("LookupError", ["retried", "failed"])
    assert paid(engine, "never") == 0


def test_a_constraint_violation_on_complete_fails_the_attempt(at: Stack, engine: Engine) -> None:
    with pytest.raises(StepFailed) as failure:
        at.agentq.start(steps.pay_twice.s("twice")).result(20)
    assert failure.value.error_class == "sqlalchemy.exc.IntegrityError"
    assert paid(engine, "twice") == 0


def test_the_soft_limit_ends_a_callback_as_it_ends_a_step(at: Stack, engine: Engine) -> None:
    with pytest.raises(StepFailed) as failure:
        at.agentq.start(steps.pay_slowly.s("slowly")).result(20)
    assert failure.value.category == "timed_out"
    assert paid(engine, "slowly") == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [("commit the connection", "committed with the job's outcome"), ("no such table", "nowhere")],
)
def test_a_forbidden_call_in_a_callback_fails_its_attempt(at: Stack, engine: Engine, how: str, why: str) -> None:
    workflow = at.agentq.start(steps.misuse.s(how))
    with pytest.raises(StepFailed, match=why):
        workflow.result(20)
    assert history(workflow) == ["failed"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_a_start_that_would_wait_for_its_own_transaction_is_refused(at: Stack, engine: Engine) -> None:
    with pytest.raises(StepFailed, match="session=session"):
        at.agentq.start(steps.misuse.s("start without the session")).result(20)


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_workflow_that_a_callback_starts_is_there_with_the_completion(
    at: Stack, engine: Engine, is_refused: bool
) -> None:
    key = f"order {is_refused}"
    first = at.agentq.start(steps.order.s(key, is_refused))
    if is_refused:
        with pytest.raises(StepFailed, match="no stock"):
            first.result(20)
    else:
        assert first.result(20) == key
    found = operations.list_(at.agentq.ledger, operations.WorkflowFilter(key=key))
    assert len(found) == (0 if is_refused else 1)
    for summary in found:
        assert at.agentq.workflow(str(summary.id)).result(20) == 3


def test_a_coroutine_step_writes_after_its_end(at: Stack, engine: Engine) -> None:
    assert at.agentq.start(steps.pay_from_a_loop.s("loop")).result(20) == "loop"
    assert paid(engine, "loop") == 1


def test_a_callback_that_is_no_plain_function_is_refused() -> None:
    async def write(session: object) -> None: ...

    context = make_context()
    for callback in (write, "write"):
        with pytest.raises(InvalidArguments, match="plain function"):
            context.on_complete(callback)  # type: ignore[arg-type]
    assert context.callbacks == []
