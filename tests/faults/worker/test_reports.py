"""A worker is killed while it writes how far a step is: the job is run again, and its events can be read on."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentq.operations.schemas import Event
from agentq.runtime.workflow import Workflow
from tests.faults.worker.place import worker_of
from tests.faults.worker.reporting_steps import HELD, WHEN, report
from tests.runtime.queries import history, require_sound
from tests.support import Broker, Gates, client
from tests.support.faults import Fault, Phase, covers

STEPS = ("-I", "tests.faults.worker.reporting_steps")
SECOND_ATTEMPT = [("begun", 2), ("progress", 2), ("ended", 2), ("job.succeeded", 2), ("workflow.succeeded", None)]


def what(events: Iterable[Event]) -> list[tuple[str, int | None]]:
    """Kind and attempt of each event."""
    return [(event.kind, event.attempt) for event in events]


def kept(events: Iterable[Event]) -> list[tuple[str, int | None]]:
    """The same without progress, of which the newest alone is kept."""
    return [each for each in what(events) if each[0] != "progress"]


def read(workflow: Workflow[Any], after: str | None = None) -> list[Event]:
    """The bytes that can be read now."""
    return list(workflow.events(after, follow=False))


@covers(Fault.KILL_WORKER, Phase.BODY)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_killed_while_it_records_an_event_loses_no_job(
    redis_broker: Broker, ledger_url: str, gates: Gates, when: str
) -> None:
    env = {HELD: str(gates.folder), WHEN: when}
    with client(redis_broker, ledger_url) as agentq, ThreadPoolExecutor(1) as pool:
        with worker_of(redis_broker, ledger_url, arguments=STEPS, env=env) as first:
            workflow = agentq.start(report.s(str(gates.folder)))
            follower = pool.submit(lambda: list(workflow.events(timeout=60)))
            gates.await_reached("recording")
            first.kill()
        # PostgreSQL commits the statement by itself, on SQLite a transaction is around it.
        is_written = when == "after" and agentq.ledger.is_postgresql
        before = read(workflow)
        written = [("progress", 1)] if is_written else []
        assert what(before) == [("workflow.started", None), ("begun", 1), *written]
        gates.open("recording")
        gates.open("body")
        with worker_of(redis_broker, ledger_url, arguments=STEPS):
            assert workflow.result(30) == 2
        assert history(workflow) == ["lost", "succeeded"]
        events = read(workflow)
        assert what(events) == [("workflow.started", None), ("begun", 1), ("job.lost", 1), *SECOND_ATTEMPT]
        assert what(read(workflow, before[-1].id)) == [("job.lost", 1), *SECOND_ATTEMPT]
        followed = follower.result(60)
        assert kept(followed) == kept(events)
        for known in (events, followed):
            for number, event in enumerate(known):
                assert kept(read(workflow, event.id)) == kept(known[number + 1 :])
        require_sound(agentq)
