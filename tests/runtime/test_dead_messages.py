"""A message that no worker can take is a dead letter: one for all alike, without secrets; handlers get it."""

from __future__ import annotations

import base64
import json
import uuid
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.exc import NoResultFound

from agentq import AgentQ
from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import DeadLetter
from agentq.states import DeadLetterKind, DeadLetterStatus
from tests.runtime.queries import dispatch_headers, publish, row_of
from tests.runtime.stack import Stack, stack
from tests.support import Broker, Gates, eventually
from tests.support.steps import add

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")

JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
OLD = "shop.old"
BROKERS = ["redis_broker", "rabbitmq_broker"]


def letters(agentq: AgentQ) -> list[DeadLetter]:
    """Every dead letter of messages, oldest first."""
    wanted = DeadLetterFilter(status=None, kind=DeadLetterKind.MESSAGE)
    found = dead_letters.list_(agentq.ledger, wanted)
    return [dead_letters.get(agentq.ledger, str(letter.id)) for letter in reversed(found)]


def refused(at: Stack) -> int:
    """The messages that the worker has written that it refused: none while it has no row."""
    with suppress(NoResultFound):
        return int(row_of(at.agentq, at.worker).refused_messages)
    return 0


def await_refused(at: Stack, messages: int) -> list[DeadLetter]:
    """Return the letters once the worker has written that it refused so many messages."""
    eventually(lambda: refused(at) >= messages, 20, what=f"{messages} refused")
    assert refused(at) == messages
    found = letters(at.agentq)
    assert sum(letter.messages for letter in found) == messages
    return found


def send_old(at: Stack, *args: Any, **kwargs: Any) -> None:
    """Call a task that no process has any more, as an old producer does."""
    at.agentq.app.send_task(OLD, args, kwargs, queue=at.broker.queue)


@pytest.mark.parametrize("fixture", BROKERS)
def test_a_flood_of_an_unknown_task_is_one_letter(
    fixture: str, ledger_url: str, request: pytest.FixtureRequest
) -> None:
    with stack(request.getfixturevalue(fixture), ledger_url, concurrency=1) as at:
        for number in range(200):
            send_old(at, number, api_key=f"sk-{number:020}")
        (letter,) = await_refused(at, 200)
        assert (letter.step, letter.error_category, letter.messages) == (OLD, "unknown_task", 200)
        assert (letter.status, letter.job_id, letter.needs_person) == (DeadLetterStatus.OPEN, None, True)
        assert letter.error_message == (
            "no task named 'shop.old' is registered in this worker; import its module where this worker starts, "
            "or stop what sends it"
        )
        snapshot = letter.snapshot
        assert (snapshot["task"], snapshot["queue"]) == (OLD, at.broker.queue)
        assert snapshot["content_type"] == "application/json"
        assert snapshot["body"].startswith('[[0], {"api_key": ***}')
        assert at.agentq.start(add.s(1, 2)).result(20) == 3


@pytest.mark.parametrize("fixture", BROKERS)
def test_any_message_is_a_dead_letter_and_the_worker_lives_on(
    fixture: str, ledger_url: str, request: pytest.FixtureRequest
) -> None:
    broker: Broker = request.getfixturevalue(fixture)
    headers = dispatch_headers(add.name, uuid.uuid4())
    sent: list[tuple[Any, dict[str, Any]]] = [
        ("[[", {"headers": headers, **JSON}),
        ({}, {"headers": headers, "serializer": "pickle"}),
        ({"hello": "world"}, {}),
        (5, {"headers": headers}),
        ([[], {}, {}], {"headers": {**headers, "task": ["a", "list"]}}),
        ([[], {}, {}], {"headers": {"task": add.name}}),
        ([[], {}, {}], {"headers": {"task": OLD}}),
        ([[], {}, {}], {"headers": {**headers, "timelimit": 5}}),
        ([[], {}, {}], {"headers": {**headers, "id": 5}}),
        ([[], "no mapping", {}], {"headers": headers}),
        ([1, 2], {"headers": headers}),
        ("a text", {"headers": headers, "serializer": "json"}),
    ]
    with stack(broker, ledger_url, concurrency=1) as at:
        for body, options in sent:
            publish(at.agentq, broker, body, **options)
        found = Counter[Any]()
        for letter in await_refused(at, len(sent)):
            found[letter.error_category] += letter.messages
        assert found == {"undecodable": 2, "unknown_task": 1, "refused": len(sent) - 3}
        assert "Task handler raised error" not in at.worker.log()
        assert at.agentq.start(add.s(1, 2)).result(20) == 3
        assert at.worker.is_alive
    assert is_empty(broker)


def is_empty(broker: Broker) -> bool:
    """Say whether every message was acknowledged: none is kept to be delivered again."""
    if not broker.command:
        return True
    with broker.redis as redis:
        return redis.hlen("unacked") == 0 and broker.waiting() == 0


def test_a_value_pushed_into_redis_is_recorded_without_its_secrets(redis_broker: Broker, ledger_url: str) -> None:
    body = base64.b64encode(b'[[], {"password": "hunter2"}, {}]').decode()
    with stack(redis_broker, ledger_url, concurrency=1) as at:
        with redis_broker.redis as redis:
            redis.lpush(redis_broker.queue, b"\xff\x00 passphrase=hunter2 \x00")
            redis.lpush(redis_broker.queue, json.dumps({"body": body, "authorization": "hunter2"}))
        garbage, no_envelope = sorted(await_refused(at, 2), key=lambda letter: str(letter.error_class))[::-1]
        for letter in (garbage, no_envelope):
            assert (letter.step, letter.error_category) == ("(none)", "undecodable")
            assert letter.snapshot["queue"] == redis_broker.queue
            assert "app.send_task" in (letter.error_message or "")
            shown = letter.model_dump_json()
            assert "hunter2" not in shown
            assert body not in shown
            assert "\\u0000" not in shown


def test_made_up_task_names_are_distinguished_up_to_a_bound(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, concurrency=1) as at:
        for number in range(150):
            at.agentq.app.send_task(f"made.up.{number}", queue=redis_broker.queue)
        eventually(lambda: row_of(at.agentq, at.worker).refused_messages == 150, 20, what="150 refused")
        wanted = DeadLetterFilter(kind=DeadLetterKind.MESSAGE)
        found = {
            letter.step: letter.messages for letter in dead_letters.list_(at.agentq.ledger, wanted, limit=500)
        }
    assert len(found) == 101
    assert found["(many)"] == 50


def test_handlers_are_called_with_a_letter_of_messages(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    env = {"AGENTQ_TEST_FOLDER": str(gates.folder)}
    arguments = ("-I", "tests.runtime.letter_handler")
    with stack(redis_broker, ledger_url, concurrency=1, env=env, arguments=arguments) as at:
        send_old(at)
        gates.await_reached(f"unknown_task of {OLD}")
        send_old(at)
        await_refused(at, 2)
    assert gates.reached(f"unknown_task of {OLD}") == 1


def test_a_stopping_worker_writes_its_last_refusals(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, concurrency=1) as at:
        send_old(at)
        eventually(lambda: OLD in at.worker.log(), what="a word on the message")
        at.worker.terminate()
        await_refused(at, 1)


def test_messages_of_another_ledgers_jobs_are_one_letter(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, concurrency=1) as at:
        for _ in range(3):
            job_id = uuid.uuid4()
            publish(at.agentq, redis_broker, [[str(job_id)], {}, {}], headers=dispatch_headers(add.name, job_id))
        (letter,) = await_refused(at, 3)
        assert (letter.step, letter.error_category, letter.messages) == (add.name, "refused", 3)
        assert "which does not exist; find what sends it: is it for another ledger" in str(letter.error_message)
        assert letter.snapshot["queue"] == redis_broker.queue


def test_a_plain_call_that_does_not_fit_its_step_is_a_letter(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, concurrency=1) as at:
        at.agentq.app.send_task(add.name, ["one", "two"], {"password": "hunter2"}, queue=redis_broker.queue)
        (letter,) = await_refused(at, 1)
        assert (letter.step, letter.error_category) == (add.name, "refused")
        assert "hunter2" not in letter.model_dump_json()
