"""A key that needs what the step before gives: the limit holds, and the worker of the first message names it."""

from __future__ import annotations

from typing import Any

import pytest

import agentq
from agentq import Concurrency, Cooldown, Rate, Tokens, each, step
from agentq.exceptions import StepFailed
from agentq.operations import audit, dead_letters, limits, why
from agentq.operations.dead_letters.queries import DeadLetterFilter
from agentq.testing import assert_succeeded, assert_waiting_for
from agentq.testing.inline import Inline
from tests.support.steps import numbers, total

HOUR = 3600.0


@step
def choose(model: str | None) -> str | None:
    """Give the argument that the limit of the next step needs."""
    return model


@step
def give(number: int) -> int:
    return number


@step(limits=[Concurrency("later", key="model", limit=1)])
def ask(model: str | None) -> str | None:
    return model


def size_of(item: int, least: int) -> str | None:
    """Divide items: those under *least*, which is 0 or more, have no limit."""
    if least < 0:
        raise ValueError("no such size")
    return None if item < least else "large"


@step(limits=[Concurrency("sizes", key=size_of, limit=2), Concurrency("beside", limit=5)])
def handle(item: int, least: int = 10) -> int:
    return item


@step(
    limits=[
        Rate("paced_later", key="model", limit=100, per=60, burst=50),
        Tokens("paced_later", key="model", limit=1_000, per=60, estimate=lambda model, words: 3 * words),
        Cooldown("paced_later", key="model"),
    ]
)
def reason(model: str, words: int) -> str:
    return model


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound, and no slot is held."""
    yield
    assert audit.run(agentq_inline.ledger).is_sound
    assert {limit.used for limit in limits.list_(agentq_inline.ledger)} <= {0}


def paused(inline: Inline, name: str, started: Any) -> None:
    """Let a job use a limit, and pause that for an hour."""
    agentq.start(started).result()
    limits.change(inline.ledger, name, 0, until=HOUR, actor="ann", reason="the provider is down")


def test_a_job_after_another_waits_for_the_limit_that_its_result_names(agentq_inline: Inline) -> None:
    paused(agentq_inline, "later:gpt", ask.s("gpt"))
    workflow = agentq.start(choose.s("gpt") | ask.s())
    assert why.of_workflow(agentq_inline.ledger, workflow.id).reasons[-1].name == "jobs"
    agentq_inline.run()
    assert_waiting_for(workflow, "slots of later:gpt, paused by ann", ask)
    limits.resume(agentq_inline.ledger, "later:gpt", actor="ann")
    assert workflow.result() == "gpt"
    [_, asked] = workflow.jobs()
    assert (asked.attempt, asked.attempts_summary) == (1, "1 of 5")


def test_a_job_whose_limit_has_a_slot_takes_one_message_more(agentq_inline: Inline) -> None:
    workflow = agentq.start(choose.s("gpt") | ask.s())
    assert agentq_inline.run() == 3
    assert assert_succeeded(workflow) == "gpt"


def test_a_job_whose_key_is_none_has_no_limit_and_no_message_more(agentq_inline: Inline) -> None:
    workflow = agentq.start(choose.s(None) | ask.s())
    assert agentq_inline.run() == 2
    assert assert_succeeded(workflow) is None
    assert limits.list_(agentq_inline.ledger) == []


def test_the_items_of_an_each_wait_for_the_limits_that_they_name(agentq_inline: Inline) -> None:
    workflow = agentq.start(numbers.s(20) | each(handle.s()) | total.s())
    assert agentq_inline.run() == 1 + 20 + 1
    assert assert_succeeded(workflow) == sum(range(20))
    assert {limit.name: limit.declared for limit in limits.list_(agentq_inline.ledger)} == {
        "beside": 5,
        "sizes:large": 2,
    }


def test_rates_tokens_and_cooldowns_are_of_the_key_that_a_result_gives(agentq_inline: Inline) -> None:
    workflow = agentq.start(choose.s("gpt") | reason.s(7))
    assert workflow.result() == "gpt"
    found = limits.get(agentq_inline.ledger, "paced_later:gpt")
    assert (found.rate.limit, found.tokens.limit) == (100, 1_000)


@pytest.mark.parametrize("canvas", [give.s(1) | handle.s(-1), numbers.s(1) | each(handle.s(-1))])
def test_a_key_that_cannot_be_made_of_a_result_is_a_dead_letter_that_names_the_limit(
    agentq_inline: Inline, canvas: Any
) -> None:
    workflow = agentq.start(canvas)
    agentq_inline.run()
    with pytest.raises(StepFailed, match="the key of limit 'sizes' cannot be made: ValueError: no such size"):
        workflow.result()
    [letter] = dead_letters.list_(agentq_inline.ledger, DeadLetterFilter())
    assert (letter.error_category, letter.attempts) == ("invalid_arguments", 1)


def test_a_replay_with_other_arguments_names_limits_that_had_no_names(agentq_inline: Inline) -> None:
    workflow = agentq.start(give.s(20) | handle.s(-1))
    agentq_inline.run()
    [letter] = dead_letters.list_(agentq_inline.ledger, DeadLetterFilter())
    dead_letters.edit(agentq_inline.ledger, letter.job_id, args=[10], actor="ann", reason="a size that exists")
    dead_letters.replay(agentq_inline.ledger, letter.job_id, actor="ann")
    assert workflow.result() == 20
    assert "sizes:large" in {limit.name for limit in limits.list_(agentq_inline.ledger)}
