"""A caller dies between the commit of its transaction and the dispatch: a caretaker dispatches."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from agentq.operations import workflows as operations
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, Gates, Worker, client
from tests.support.steps import count
from tests.transactions import steps
from tests.transactions.caller import KEY, start_and_die
from tests.transactions.conftest import STEPS, business


@pytest.mark.long
@pytest.mark.parametrize(("step", "status"), [(count, "queued"), (steps.count_one_at_a_time, "blocked")])
def test_a_workflow_committed_by_a_killed_caller_runs_once(
    redis_broker: Broker, ledger_url: str, gates: Gates, step: Any, status: str
) -> None:
    with business(ledger_url) as engine, client(redis_broker, ledger_url) as agentq:
        assert start_and_die(redis_broker, ledger_url, gates.folder, step) == -signal.SIGKILL
        with redis_broker.redis as redis, engine.connect() as connection:
            assert redis.exists(redis_broker.queue) == 0
            assert steps.payments(connection, KEY) == 1
        (started,) = operations.list_(agentq.ledger, operations.WorkflowFilter(key=KEY))
        workflow = agentq.workflow(str(started.id))
        assert (workflow.status, job_of(workflow).status) == ("running", status)
        with Worker(redis_broker, ledger_url, settings={"redispatch_after": 1}, arguments=STEPS):
            assert workflow.result(30) == "done"
        assert (gates.reached("body"), history(workflow)) == (1, ["succeeded"])
        require_sound(agentq)
