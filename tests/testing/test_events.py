"""``ctx.progress`` and ``ctx.emit``: the events that are kept, and that a failed write never harms the step."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import agentq
from agentq.exceptions import InvalidValue, LedgerUnavailable, ValueTooLarge
from agentq.ledger import moves
from agentq.runtime.attempt.reports import MAX_EVENTS
from agentq.testing import make_context
from agentq.testing.inline import Inline
from tests.runtime.progress_steps import tell_and_fail_once, tell_async, tell_much, tell_three


def events_of(workflow: agentq.Workflow[Any]) -> list[tuple[str, Any]]:
    """The events of steps, without agentq's own."""
    return [(event.kind, event.data) for event in workflow.events() if "." not in event.kind]


def test_every_event_and_the_last_progress_are_there_when_the_step_has_ended(agentq_inline: Inline) -> None:
    workflow = agentq.start(tell_three.s())
    agentq_inline.run()
    drafts = [("draft", {"number": number}) for number in (1, 2, 3)]
    assert [item for item in events_of(workflow) if item[0] == "draft"] == drafts
    assert events_of(workflow)[-1] == ("progress", {"done": 3, "total": 3, "message": "draft 3"})
    assert [kind for kind, _ in events_of(workflow)].count("progress") == 1


def test_steps_of_both_kinds_and_failed_attempts_report(agentq_inline: Inline) -> None:
    workflow = agentq.start(tell_async.s())
    agentq_inline.run()
    assert events_of(workflow) == [("progress", {"done": 1, "total": 2, "message": ""}), ("half", None)]
    workflow = agentq.start(tell_and_fail_once.s())
    agentq_inline.advance(60)
    assert [(event.kind, event.attempt) for event in workflow.events()][1:-1] == [
        ("tried", 1),
        ("job.retried", 1),
        ("tried", 2),
        ("job.succeeded", 2),
    ]


def test_a_ledger_that_is_away_harms_no_step(
    agentq_inline: Inline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_away(*_: object) -> None:
        raise LedgerUnavailable("the ledger is away")

    monkeypatch.setattr(moves, "record_event", is_away)
    workflow = agentq.start(tell_three.s())
    with caplog.at_level(logging.WARNING):
        assert workflow.result(10) == "reported"
    assert events_of(workflow) == []
    assert "its event is dropped" in caplog.text


def test_events_beyond_the_limit_are_dropped(agentq_inline: Inline, caplog: pytest.LogCaptureFixture) -> None:
    workflow = agentq.start(tell_much.s(MAX_EVENTS + 5))
    with caplog.at_level(logging.WARNING):
        agentq_inline.run()
    assert len([kind for kind, _ in events_of(workflow) if kind == "number"]) <= MAX_EVENTS
    assert caplog.text.count("further ones are dropped") == 1


def test_an_invalid_event_is_refused() -> None:
    events: list[tuple[str, Any]] = []
    ctx = make_context(reported=events)
    for kind in ("progress", "error", "job.failed", "Draft", "", "two words", "x" * 65):
        with pytest.raises(InvalidValue, match="a kind is a word"):
            ctx.emit(kind)
    for number in (-1, float("nan"), float("inf"), True, "3"):
        with pytest.raises(InvalidValue, match="must be a finite number"):
            ctx.progress(number)  # type: ignore[arg-type]
    with pytest.raises(ValueTooLarge, match="over the limit of 4,096"):
        ctx.emit("draft", "x" * 5_000)
    assert events == []
    ctx.progress(1, message="x" * 500)
    assert len(events[0][1]["message"]) == 200


def test_texts_that_look_like_secrets_are_masked(agentq_inline: Inline) -> None:
    @agentq.step
    def leak(ctx: agentq.Context) -> None:
        ctx.emit("usage", {"tokens": 3, "key": "sk-0123456789abcdef0123"})

    workflow = agentq.start(leak.s())
    agentq_inline.run()
    assert events_of(workflow) == [("usage", {"tokens": 3, "key": "***"})]
