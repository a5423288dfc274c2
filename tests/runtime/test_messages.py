"""The content of the broker: any message may come out of it; agentq's own are small and show nothing."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from celery import chain, chord, group

from agentq import AgentQ
from agentq.states import JobStatus
from tests.runtime.queries import dispatch_headers, job_of, publish, row_of
from tests.support import Broker, Worker, client, eventually
from tests.support.steps import add, echo, whoami

MOST_BYTES = 1024
SECRET = "an argument of a user's"
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")

Send = Callable[[AgentQ, Broker], None]


def raw(text: bytes) -> Send:
    """Push what is no message of any client's."""

    def send(agentq: AgentQ, broker: Broker) -> None:
        with broker.redis as redis:
            redis.lpush(broker.queue, text)

    return send


def dispatch_of(step: str, job_id: object) -> Send:
    """Publish the message of a job that is not there."""
    headers = dispatch_headers(step, uuid.uuid4())
    return lambda agentq, broker: publish(agentq, broker, [[str(job_id)], {}, {}], headers=headers)


def undecodable(agentq: AgentQ, broker: Broker) -> None:
    headers = dispatch_headers(add.name, uuid.uuid4())
    publish(agentq, broker, "[[", headers=headers, **JSON)


def pickled(agentq: AgentQ, broker: Broker) -> None:
    headers = dispatch_headers(add.name, uuid.uuid4())
    publish(agentq, broker, [[1, 2], {}, {}], headers=headers, serializer="pickle")


def without_task(agentq: AgentQ, broker: Broker) -> None:
    publish(agentq, broker, {"hello": "world"})


def for_another_step(agentq: AgentQ, broker: Broker) -> None:
    job = job_of(agentq.start(add.s(1, 2), not_before=datetime.now(UTC) + timedelta(hours=1)))
    publish(agentq, broker, [[str(job.id)], {}, {}], headers=dispatch_headers(echo.name, job.id))
    assert job.status is JobStatus.SCHEDULED


FOREIGN: dict[str, tuple[Send, str]] = {
    "no JSON": (raw(b"\xff\x00 garbage"), "task '(none)' of queue"),
    "no envelope": (raw(b"{}"), "task '(none)' of queue"),
    "a list": (raw(b"[1, 2]"), "task '(none)' of queue"),
    "undecodable": (undecodable, "DecodeError: Expecting value"),
    "pickled": (pickled, "Refusing to deserialize"),
    "without a task": (without_task, "it names no task"),
    "of an unknown task": (dispatch_of("nobody.knows", uuid.uuid4()), "does not know step 'nobody.knows'"),
    "of an unknown job": (
        dispatch_of(add.name, uuid.UUID(int=7)),
        f"job {uuid.UUID(int=7)}, which does not exist",
    ),
    "of no job": (dispatch_of(add.name, "not an id"), f"job {uuid.UUID(int=0)}, which does not exist"),
    "for another step": (for_another_step, f"which is of step {add.name!r}"),
}


def was_logged(worker: Worker, text: str) -> bool:
    return text in worker.log()


def were_counted(agentq: AgentQ, worker: Worker, number: int) -> bool:
    return bool(row_of(agentq, worker).refused_messages == number)


@on_sqlite
def test_a_worker_survives_what_is_not_for_it(redis_broker: Broker, ledger_url: str) -> None:
    with (
        client(redis_broker, ledger_url) as agentq,
        Worker(redis_broker, ledger_url, concurrency=1) as worker,
    ):
        child = agentq.start(whoami.s()).result(20)["pid"]
        for number, (name, (send, logged)) in enumerate(FOREIGN.items(), start=1):
            send(agentq, redis_broker)
            eventually(partial(was_logged, worker, logged), what=f"a word on a message {name}")
            eventually(partial(were_counted, agentq, worker, number), what=f"the count of a message {name}")
        assert agentq.start(whoami.s()).result(20)["pid"] == child
        assert worker.is_alive
        row = row_of(agentq, worker)
        assert (row.pid, row.refused_messages) == (worker.pid, len(FOREIGN))


def messages(broker: Broker) -> list[str]:
    """Return every message that the Redis holds in a queue."""
    found: list[str] = []
    with broker.redis as redis:
        for key in redis.scan_iter():
            if redis.type(key) == "list":
                found += redis.lrange(key, 0, -1)
    return found


def require_small_and_discreet(found: list[str]) -> None:
    largest = max(found, key=len)
    assert len(largest.encode()) <= MOST_BYTES, largest
    for text in found:
        body = base64.b64decode(json.loads(text)["body"]).decode()
        assert SECRET not in text
        assert SECRET not in body


def unheard() -> Any:
    """A step whose queue no worker listens to, so that its message can be looked at."""
    return echo.si(SECRET).set(queue="unheard")


def a_chain() -> Any:
    links = [echo.si(number, note=SECRET) for number in range(999)]
    return chain(*links[:50], unheard(), *links[50:])


def a_chord() -> Any:
    return chord(group(echo.s(number, note=SECRET) for number in range(1000)), unheard())


@on_sqlite
@pytest.mark.parametrize(("canvas", "ready"), [(a_chain, 1), (a_chord, 1000)], ids=["chain", "chord"])
def test_messages_are_small_and_have_no_arguments(
    redis_broker: Broker, ledger_url: str, canvas: Callable[[], Any], ready: int
) -> None:
    with client(redis_broker, ledger_url) as agentq:
        workflow = agentq.start(canvas(), tenant="t" * 255, priority=5)
        found = messages(redis_broker)
        assert len(found) == ready
        require_small_and_discreet(found)

        def left() -> list[str]:
            return [text for text in messages(redis_broker) if "unheard" in text]

        with Worker(redis_broker, ledger_url):
            later = eventually(left, 30, what="the message of the step that no process hears")
            assert len(later) == 1
            require_small_and_discreet(later)
            workflow.cancel()
