"""Real workers start what schedules say: no tick is started twice, whatever dies."""

from __future__ import annotations

from datetime import datetime, timedelta

from agentq.ledger.db.session import Ledger
from agentq.operations import schedules, workflows
from agentq.operations.schemas import WorkflowSummary
from agentq.operations.workflows import WorkflowFilter
from agentq.states import WorkflowStatus
from tests.runtime.queries import require_sound
from tests.support import Broker, Worker, client, eventually

PREFIX = "schedule:each-second:"
SETTINGS = {"lease": 2, "redispatch_after": 1}


def worker_of(broker: Broker, ledger_url: str) -> Worker:
    return Worker(broker, ledger_url, module="tests.runtime.scheduled_steps", settings=SETTINGS)


def ended(ledger: Ledger) -> list[WorkflowSummary]:
    """The workflows of ticks that have succeeded, the newest last."""
    wanted = WorkflowFilter(status=WorkflowStatus.SUCCEEDED)
    return workflows.list_(ledger, wanted, limit=1000, oldest_first=True)


def test_a_killed_worker_costs_no_tick_and_no_tick_is_started_twice(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as first:
        eventually(lambda: len(ended(agentq.ledger)) >= 3, 30, what="ticks of one worker")
        with worker_of(redis_broker, ledger_url):
            first.kill()
            before = len(ended(agentq.ledger))
            eventually(lambda: len(ended(agentq.ledger)) >= before + 4, 30, what="ticks of the other worker")
            schedules.pause(agentq.ledger, "each-second", reason="enough")
            found = schedules.get(agentq.ledger, "each-second")
            eventually(lambda: len(ended(agentq.ledger)) == found.started, 30, what="the ends of all workflows")
        keys = [one.key for one in ended(agentq.ledger)]
        assert len(set(keys)) == len(keys) == found.started
        ticks = sorted(datetime.fromisoformat(str(key).removeprefix(PREFIX)) for key in keys)
        assert found.missed == 0
        assert ticks == [ticks[0] + timedelta(seconds=number) for number in range(len(ticks))]
        require_sound(agentq)
