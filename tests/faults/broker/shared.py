"""Helpers of the tests of broken brokers: a worker, raw messages, the content of a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentq import AgentQ
from agentq.runtime.workflow import Workflow
from agentq.states import RUNNABLE, AttemptOutcome
from tests.runtime.queries import taken_message
from tests.support import Broker, Worker

SETTINGS = {"lease": 10, "redispatch_after": 1}
"""Settings for tests in which no worker dies, so that a busy machine does not make one look dead."""
STEPS = "tests.faults.broker.steps"
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


def worker_of(
    broker: Broker, ledger_url: str, concurrency: int = 2, *, lease: float = 10, **options: Any
) -> Worker:
    """A worker that knows the steps of these tests and soon sends again what was lost."""
    arguments = ("-I", STEPS, *options.pop("arguments", ()))
    settings = SETTINGS | {"lease": lease}
    return Worker(broker, ledger_url, settings=settings, concurrency=concurrency, arguments=arguments, **options)


def copied_message(agentq: AgentQ, broker: Broker) -> Callable[[int], None]:
    """Return what puts so many copies of the queue's only message beside it, byte for byte where it can."""
    if not broker.command:
        publish = taken_message(agentq, broker)
        publish()
        return lambda times: _repeat(publish, times)
    with broker.redis as redis:
        (text,) = redis.lrange(broker.lane, 0, -1)

    def push(times: int) -> None:
        with broker.redis as redis:
            redis.lpush(broker.lane, *[text] * times)

    return push


def depth(agentq: AgentQ, broker: Broker) -> int:
    """The number of messages in the queue."""
    with agentq.app.connection_for_write() as connection:
        try:
            found = connection.default_channel.queue_declare(queue=broker.queue, passive=True)
        except connection.channel_errors:  # on Redis an empty queue is none
            return 0
        return int(found.message_count)


def ran_once(*workflows: Workflow[Any]) -> bool:
    """Say if each step of the workflows had one attempt, and that succeeded."""
    steps = [job for workflow in workflows for job in workflow.jobs() if job.kind in RUNNABLE]
    outcomes = [[attempt.outcome for attempt in job.attempts] for job in steps]
    return {job.attempt for job in steps} == {1} and outcomes == [[AttemptOutcome.SUCCEEDED]] * len(steps)


def _repeat(call: Callable[[], None], times: int) -> None:
    for _ in range(times):
        call()
