"""Priorities mean the same on every broker: 9 first, jobs without one in the middle, and no other order."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery

from agentq.runtime.bridge.configuration import problems
from tests.faults.broker.shared import on_sqlite, worker_of
from tests.faults.broker.steps import note_turn
from tests.support import Broker, Gates, client
from tests.support.steps import meet

GIVEN = [0, None, 9, 3, 5, None, 1, 8, 2, 7, 4, 6]
EXPECTED = [9, 8, 7, 6, 5, None, None, 4, 3, 2, 1, 0]


def orders(kind: str) -> list[list[str]]:
    """The orders that are right: RabbitMQ hands a worker one message ahead, the first that was sent."""
    whole = [str(priority) for priority in EXPECTED]
    ahead = str(GIVEN[0])
    return (
        [whole, [ahead, *(priority for priority in whole if priority != ahead)]] if kind == "rabbitmq" else [whole]
    )


@on_sqlite
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_jobs_run_in_the_order_of_their_priorities(
    kind: str, ledger_url: str, gates: Gates, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker: Broker = request.getfixturevalue(f"{kind}_broker")
    turns = tmp_path / "turns"
    limit = {"AGENTQ_TEST_MOST_PRIORITY": "10"}
    with client(broker, ledger_url) as agentq:
        agentq.app.conf.task_queue_max_priority = 10
        with worker_of(broker, ledger_url, 1, pool="solo", env=limit):
            agentq.start(meet.s(1, str(gates.folder), "gate"), priority=9)
            gates.await_reached("gate")
            started = [agentq.start(note_turn.s(str(given), str(turns)), priority=given) for given in GIVEN]
            gates.open("gate")
            for workflow in started:
                workflow.result(30)
    assert turns.read_text().split() in orders(kind)


def test_other_priority_steps_in_redis_are_logged() -> None:
    app = Celery("lanes", broker="redis://", set_as_current=False)
    app.conf.update(broker_transport_options={"priority_steps": [0, 3, 6, 9]}, broker_channel_error_retry=True)
    assert any("priority_steps [0, 3, 6, 9]" in str(problem) for problem in problems(app))
