"""Priorities mean the same on every broker: 9 first, jobs without one in the middle, and no other order."""

from __future__ import annotations

from pathlib import Path

from celery import Celery

from agentq.runtime.configuration import problems
from tests.faults.broker.scene import on_sqlite, worker_of
from tests.faults.broker.steps import note_turn
from tests.support import Broker, Gates, client
from tests.support.steps import meet

GIVEN = [0, None, 9, 3, 5, None, 1, 8, 2, 7, 4, 6]
EXPECTED = [9, 8, 7, 6, 5, None, None, 4, 3, 2, 1, 0]


@on_sqlite
def test_jobs_run_in_the_order_of_their_priorities(
    redis_broker: Broker, ledger_url: str, gates: Gates, tmp_path: Path
) -> None:
    turns = tmp_path / "turns"
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1, pool="solo"):
        agentq.start(meet.s(1, str(gates.folder), "gate"), priority=9)
        gates.await_reached("gate")
        started = [agentq.start(note_turn.s(str(given), str(turns)), priority=given) for given in GIVEN]
        gates.open("gate")
        for workflow in started:
            workflow.result(30)
    assert turns.read_text().split() == [str(priority) for priority in EXPECTED]


def test_other_steps_in_redis_are_told() -> None:
    app = Celery("lanes", broker="redis://", set_as_current=False)
    app.conf.update(broker_transport_options={"priority_steps": [0, 3, 6, 9]}, broker_channel_error_retry=True)
    assert any("priority_steps [0, 3, 6, 9]" in str(problem) for problem in problems(app))
