"""The record of any message at all: at most 4 KB, storable anywhere, without secrets."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentq.ledger.refused_messages import Refusal, RefusedMessage
from agentq.runtime.refused.raw_message import RawMessage
from agentq.runtime.refused.refusals import Refusals

PLAIN = RawMessage(
    task="shop.old", queue="celery", content_type="application/json", headers={}, body=b"[[], {}, {}]"
)
SECRET = "hunter2"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
long_text = st.text(max_size=50).map(lambda text: text * 100)


@given(task=anything | long_text, queue=anything, kind=anything, headers=anything, body=anything | long_text)
def test_any_message_can_be_recorded(task: Any, queue: Any, kind: Any, headers: Any, body: Any) -> None:
    headers = headers if isinstance(headers, dict) else {"id": headers, "origin": task}
    raw_message = RawMessage(task, queue, kind, headers, body)
    message = raw_message.refused(Refusal.REFUSED, ValueError(str(body)), "acme")
    snapshot = raw_message.snapshot()
    assert len(snapshot.encode()) <= 4_096
    assert set(json.loads(snapshot)) == {"id", "origin", "task", "queue", "content_type", "size", "body"}
    for text in (snapshot, message.task, message.queue, message.content_type, message.error_message):
        assert "\x00" not in text
    assert max(len(message.task), len(message.queue), len(message.content_type)) <= 255
    assert len(message.digest) == 64


@pytest.mark.parametrize(
    "body",
    [
        '[[], {"password": "hunter2"}, {}]',
        '[[], {"login": {"authorization": "Basic hunter2"}}, {}]',
        '{"authorization": "Basic hunter2", cut',
        '{"passphrase": "my \\"hunter2',
        "passphrase=hunter2&a=b",
        "cookie: 'a hunter2'",
        b"\xff\x00 private_key: hunter2 \x00",
        '["postgresql://ann:hunter2@host/db"]',
        '{"a": 1} password: hunter2',
        '{"session_id": "hunter2"}' + " " * 70_000,
    ],
)
def test_secrets_are_masked(body: Any) -> None:
    assert SECRET not in replace(PLAIN, body=body).snapshot()
    assert SECRET not in replace(PLAIN, body=body, content_type=None).snapshot()


@pytest.mark.parametrize("kind", ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack"])
def test_a_body_for_a_serializer_is_not_shown(kind: str) -> None:
    shown = json.loads(replace(PLAIN, content_type=kind, body=b"password hunter2").snapshot())
    assert shown["body"] == f"(not shown: {kind})"
    assert shown["size"] == 16


@pytest.mark.parametrize("body", ["[" * 60_000, "a" * 50_000_000, 'a="' * 20_000, "a-" * 30_000, "=" * 60_000])
def test_a_large_or_nasty_body_costs_little(body: str) -> None:
    began = time.process_time()
    replace(PLAIN, body=body).snapshot()
    assert time.process_time() - began < 1


def test_a_message_says_what_to_do() -> None:
    message = PLAIN.refused(Refusal.UNDECODABLE, ValueError("no JSON at password=hunter2."), "acme")
    assert message.error_message == (
        "ValueError: no JSON at password=***; find what sends it, and let it send JSON, by Celery's app.send_task "
        "or a step's delay()"
    )
    assert (message.error_class, message.task) == ("ValueError", "shop.old")


def test_refusals_that_could_not_be_written_are_written_later() -> None:
    refusals, written = Refusals("acme"), dict[RefusedMessage, int]()

    def fail(messages: dict[RefusedMessage, int]) -> None:
        raise ConnectionError("the ledger is away")

    for _ in range(3):
        refusals.add(PLAIN, Refusal.REFUSED, "no")
    with pytest.raises(ConnectionError):
        refusals.write(fail)
    refusals.add(replace(PLAIN, body=b"another"), Refusal.REFUSED, "no")
    refusals.write(written.update)
    refusals.write(fail)  # nothing is left to be written
    assert [(message.task, messages) for message, messages in written.items()] == [("shop.old", 4)]
