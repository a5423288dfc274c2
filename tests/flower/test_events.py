"""The events that a worker sends of a job are those in the documentation."""

from __future__ import annotations

import ast
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agentq import AgentQ, Workflow
from agentq.exceptions import StepFailed
from agentq.ledger.db import migrate
from tests.setup.source import ROOT
from tests.support import Broker, Worker, client, eventually, sqlite_file
from tests.support.steps import add, fail, flaky

DOCUMENTED = set(re.findall(r"^\| `(task-\w+)` \|", (ROOT / "docs" / "looking.md").read_text(), re.MULTILINE))
LAST = {"task-succeeded", "task-failed"}

Events = dict[str, list[dict[str, Any]]]


@contextmanager
def heard(agentq: AgentQ) -> Iterator[Events]:
    """The events of tasks, by task id, in their order."""
    events: Events = defaultdict(list)
    ready = threading.Event()

    def note(event: dict[str, Any]) -> None:
        if event["type"].startswith("task-"):
            events[event["uuid"]].append(event)

    with agentq.app.connection_for_read() as connection:
        receiver = agentq.app.events.Receiver(connection, {"*": note})
        receiver.on_consume_ready = lambda *_, **__: ready.set()
        listening = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        listening.start()
        assert ready.wait(30)
        yield events
        receiver.should_stop = True
        listening.join(30)


def test_a_job_sends_the_documented_events(redis_broker: Broker, tmp_path: Any) -> None:
    ledger = sqlite_file(tmp_path)
    with client(redis_broker, ledger) as agentq:
        migrate.upgrade(agentq.ledger)
        with heard(agentq) as events, Worker(redis_broker, ledger, arguments=("-E",)):
            succeeded, retried, failed = (
                agentq.start(canvas) for canvas in (add.s(1, 2), flaky.s("done", 1), fail.s("no luck"))
            )
            _ended(events, succeeded, retried, failed)
            kinds_of = {name: _types(events, workflow) for name, workflow in _named(succeeded, retried, failed)}
            result = ast.literal_eval(events[_job(succeeded)][-1]["result"])
            why = events[_job(failed)][-1]["exception"]
    once = ["task-received", "task-started"]
    assert kinds_of == {
        "succeeded": [*once, "task-succeeded"],
        "retried": [*once, "task-retried", *once, "task-succeeded"],
        "failed": [*once, "task-failed"],
    }
    assert result == {"attempt": 1}
    assert why.startswith("AttemptFailed(")
    assert {kind for kinds in kinds_of.values() for kind in kinds} | {"task-revoked"} == DOCUMENTED


def _named(*workflows: Workflow[Any]) -> list[tuple[str, Workflow[Any]]]:
    return list(zip(("succeeded", "retried", "failed"), workflows, strict=True))


def _ended(events: Events, *workflows: Workflow[Any]) -> None:
    for workflow in workflows:
        try:
            workflow.result(30)
        except StepFailed:
            continue
    eventually(
        lambda: all(LAST & set(_types(events, workflow)) for workflow in workflows), 30, what="the last events"
    )


def _types(events: Events, workflow: Workflow[Any]) -> list[str]:
    return [event["type"] for event in events[_job(workflow)]]


def _job(workflow: Workflow[Any]) -> str:
    (job,) = workflow.jobs()
    return str(job.id)
