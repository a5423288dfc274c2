"""A commit that took effect and whose answer was lost counts as a success, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Signature

from agentq import each
from agentq.exceptions import StepFailed
from agentq.ledger.db.session import Ledger
from agentq.operations import workflows as operations
from agentq.runtime.workflow import Workflow
from tests.faults.ledger.canvases import SHAPES, require_all, start_all
from tests.runtime.queries import history, job_of, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, redis_server
from tests.support.fake_worker import FakeWorker
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.steps import add, count, echo, fail, flaky, meet, numbers

SETTINGS = {"lease": 5, "redispatch_after": 0.5, "due_interval": 0.1}

START = "INSERT INTO agentq_workflows"
CLAIM = "claim_token="
ONE_STATEMENT = "readied_by_job"
HISTORY = "INSERT INTO agentq_attempts"
ACTION = "INSERT INTO agentq_actions"
DUE = "dispatched_at=statement_timestamp(), dispatches=$"


@dataclass(frozen=True)
class ProxiedPlace(Stack):
    """A place whose worker and client reach the ledger by a proxy."""

    proxy: Proxy
    postgres: Postgres


@pytest.fixture(scope="module")
def running(shared_postgres: Postgres) -> Iterator[ProxiedPlace]:
    """One worker for the module."""
    with (
        redis_server() as broker,
        Proxy(shared_postgres.url) as proxy,
        stack(broker, proxy.url, settings=SETTINGS) as at,
    ):
        at.agentq.ensure_ledger()
        yield ProxiedPlace(at.broker, at.ledger_url, at.worker, at.agentq, proxy, shared_postgres)


@pytest.fixture
def at(running: ProxiedPlace, postgres: Postgres) -> Iterator[ProxiedPlace]:
    """The place of one test, sound at its end."""
    yield running
    require_sound(running.agentq)


def workflows_in(at: Stack) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter())


def require_accepted(at: Stack, workflow: Workflow[Any]) -> None:
    """Fail if the worker took what it had recorded for lost, or a person rescued it."""
    for job in workflow.jobs():
        assert not re.search(rf"job={job.id} attempt=\d+\] (this worker no longer|was )", at.worker.log())


@covers(Fault.LOSE_REPLY, Phase.START)
@pytest.mark.parametrize("key", [None, "digest"])
@pytest.mark.parametrize("name", ["one job", "fan-in"])
def test_a_start_is_one_workflow(at: ProxiedPlace, name: str, key: str | None) -> None:
    canvas, result = {"one job": (add.s(1, 2), 3), **SHAPES}[name]
    before = workflows_in(at)
    lost = at.proxy.lose_reply(START)
    workflow = at.agentq.start(canvas, key=key and f"{key} {name}")
    assert lost.happened
    assert workflow.is_new
    assert workflow.result(20) == result
    assert workflows_in(at) == before + 1


@covers(Fault.LOSE_REPLY, Phase.CLAIM)
def test_a_claim_is_one_attempt(at: ProxiedPlace, gates: Gates) -> None:
    lost = at.proxy.lose_reply(CLAIM)
    workflow = at.agentq.start(count.s("done", str(gates.folder), "body"))
    assert workflow.result(20) == "done"
    assert lost.happened
    assert (history(workflow), job_of(workflow).attempt) == (["succeeded"], 1)
    assert gates.reached("body") == 1


@covers(Fault.LOSE_REPLY, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
@pytest.mark.parametrize(
    ("text", "first"),
    [(ONE_STATEMENT, echo.si()), (HISTORY, numbers.s(2) | each(add.s(1)))],
    ids=["one statement", "transaction"],
)
def test_a_completion_is_one_hand_over(at: ProxiedPlace, gates: Gates, text: str, first: Signature) -> None:
    lost = at.proxy.lose_reply(text)
    workflow = at.agentq.start(first | count.si("done", str(gates.folder), "after"))
    assert workflow.result(20) == "done"
    assert lost.happened
    assert gates.reached("after") == 1
    for job in workflow.jobs():
        assert [attempt.outcome for attempt in job.attempts] in ([], ["succeeded"])
    require_accepted(at, workflow)


@covers(Fault.LOSE_REPLY, Phase.RETRY)
def test_a_retry_is_one_more_attempt(at: ProxiedPlace) -> None:
    lost = at.proxy.lose_reply(HISTORY)
    workflow = at.agentq.start(flaky.s("done", failures=1))
    assert workflow.result(20) == "done"
    assert lost.happened
    assert (history(workflow), job_of(workflow).attempt) == (["retried", "succeeded"], 2)
    require_accepted(at, workflow)


@covers(Fault.LOSE_REPLY, Phase.COMPLETION)
def test_a_failure_is_one_failure(at: ProxiedPlace) -> None:
    lost = at.proxy.lose_reply(HISTORY)
    workflow = at.agentq.start(fail.s("no such thing"))
    with pytest.raises(StepFailed, match="no such thing"):
        workflow.result(20)
    assert lost.happened
    assert history(workflow) == ["failed"]
    require_accepted(at, workflow)


@covers(Fault.LOSE_REPLY, Phase.CANCEL)
def test_a_cancel_is_one_cancel(at: ProxiedPlace, gates: Gates) -> None:
    workflow = at.agentq.start(meet.s("done", str(gates.folder), "gate") | add.s(1))
    gates.await_reached("gate")
    lost = at.proxy.lose_reply(ACTION)
    is_mine = workflow.cancel("enough", actor="ann")
    assert lost.happened
    assert is_mine
    gates.open("gate")
    task = f"[{job_of(workflow).id}]"
    eventually(lambda: at.worker.log().count(task) > 1, what="the end of the cancelled attempt")
    actions = operations.get(at.agentq.ledger, workflow.id).actions
    assert [(action.action, action.actor, action.reason) for action in actions] == [("cancel", "ann", "enough")]
    assert history(workflow) == ["cancelled"]


@covers(Fault.LOSE_REPLY, Phase.SWEEP)
def test_a_lost_reply_dispatches_due_jobs_once(at: ProxiedPlace, gates: Gates) -> None:
    lost = at.proxy.lose_reply(DUE)
    workflow = at.agentq.start(count.s("done", str(gates.folder), "body").set(countdown=0.2))
    assert workflow.result(20) == "done"
    assert lost.happened
    assert (history(workflow), gates.reached("body")) == (["succeeded"], 1)


@covers(Fault.LOSE_REPLY, Phase.SWEEP)
def test_a_rescue_is_one_lost_attempt(at: ProxiedPlace, gates: Gates) -> None:
    lost = at.proxy.lose_reply(HISTORY)
    ledger = Ledger(at.postgres.url)
    claimed = FakeWorker(ledger, lease=-1).begin(count.s("done", str(gates.folder), "body"))
    ledger.close()
    workflow = at.agentq.workflow(str(claimed.workflow_id))
    assert workflow.result(20) == "done"
    assert lost.happened
    assert history(workflow) == ["lost", "succeeded"]
    assert gates.reached("body") == 1


def test_answers_that_come_late_lose_nothing(at: ProxiedPlace) -> None:
    at.proxy.delay = 0.05
    try:
        require_all(at.agentq, start_all(at.agentq, 1))
    finally:
        at.proxy.delay = 0
