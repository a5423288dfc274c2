"""A caller dies between the commit of its transaction and the dispatch: a caretaker dispatches."""

from __future__ import annotations

import signal

from agentq.operations import workflows as operations
from tests.runtime.queries import history, require_sound
from tests.support import Broker, Gates, Worker, client
from tests.transactions import steps
from tests.transactions.caller import KEY, start_and_die
from tests.transactions.conftest import business


def test_a_workflow_committed_by_a_killed_caller_runs_once(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with business(ledger_url) as engine, client(redis_broker, ledger_url) as agentq:
        assert start_and_die(redis_broker, ledger_url, gates.folder) == -signal.SIGKILL
        with redis_broker.redis as redis, engine.connect() as connection:
            assert redis.exists(redis_broker.queue) == 0
            assert steps.payments(connection, KEY) == 1
        (started,) = operations.list_(agentq.ledger, operations.WorkflowFilter(key=KEY))
        workflow = agentq.workflow(str(started.id))
        assert workflow.status == "running"
        with Worker(redis_broker, ledger_url, settings={"redispatch_after": 1}):
            assert workflow.result(30) == "done"
        assert (gates.reached("body"), history(workflow)) == (1, ["succeeded"])
        require_sound(agentq)
