"""Rates and tokens hold inline, and the clock of the test moves them."""

from __future__ import annotations

from typing import Any

import pytest
from celery import group

import agentq
from agentq import Context, Rate, Tokens, step
from agentq.operations import audit
from agentq.testing import assert_succeeded
from agentq.testing.inline import Inline

GAP = 60.0
ran: list[int] = []


@step(limits=[Rate("inline-calls", limit=61, per=3_600)])
def call(number: int) -> int:
    ran.append(number)
    return number


@step(limits=[Tokens("inline-tokens", limit=1_100, per=1_000, burst=100, estimate="tokens")])
def spend(ctx: Context, tokens: int, used: int | None = None) -> int:
    if used is not None:
        ctx.used(tokens=used)
    return tokens


@step(limits=[Tokens("inline-input", limit=1_100, per=1_000, burst=100, estimate=10)])
def read(ctx: Context, used: Any) -> None:
    ctx.used(tokens=used)


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound."""
    ran.clear()
    yield
    assert audit.run(agentq_inline.ledger).is_sound


def test_jobs_of_a_rate_run_one_after_the_other_as_time_passes(agentq_inline: Inline) -> None:
    workflow = agentq.start(group(call.s(number) for number in range(4)))
    agentq_inline.run()
    assert ran == [0]
    agentq_inline.advance(GAP)
    assert ran == [0, 1]
    agentq_inline.advance(2.5 * GAP)
    assert ran == [0, 1, 2, 3]
    assert_succeeded(workflow)


def test_a_result_waits_for_the_time_of_each_start(agentq_inline: Inline) -> None:
    before = agentq_inline.now
    assert agentq.start(group(call.s(number) for number in range(10))).result() == list(range(10))
    assert 9 * GAP - 5 <= (agentq_inline.now - before).total_seconds() <= 9 * GAP + 5


def test_a_retry_pays_for_its_start_again(agentq_inline: Inline) -> None:
    agentq_inline.fail(call, agentq.Retry("again", after=0), times=1)
    before = agentq_inline.now
    assert agentq.start(call.s(1)).result() == 1
    assert (agentq_inline.now - before).total_seconds() >= GAP - 5


def test_tokens_that_were_not_used_are_given_back(agentq_inline: Inline) -> None:
    before = agentq_inline.now
    agentq.start(group(spend.s(100, used=0) for _ in range(5))).result()
    assert (agentq_inline.now - before).total_seconds() < 30


def test_tokens_of_an_attempt_that_says_nothing_count_as_expected(agentq_inline: Inline) -> None:
    before = agentq_inline.now
    agentq.start(group(spend.s(100) for _ in range(3))).result()
    assert (agentq_inline.now - before).total_seconds() >= 195


def test_tokens_beyond_the_estimate_delay_the_next_attempt(agentq_inline: Inline) -> None:
    agentq.start(spend.s(1, used=1_000)).result()
    before = agentq_inline.now
    agentq.start(spend.s(1)).result()
    assert 850 <= (agentq_inline.now - before).total_seconds() <= 950


@pytest.mark.parametrize("used", [-1, 1.5, True, {"inline-input": -1}])
def test_used_tokens_that_make_no_sense_are_refused(agentq_inline: Inline, used: Any) -> None:
    workflow = agentq.start(read.s(used))
    agentq_inline.run()
    assert "must be a whole number of tokens" in workflow.dead_letters()[0].error_message


def test_used_tokens_of_a_limit_that_the_step_does_not_have_are_refused(agentq_inline: Inline) -> None:
    workflow = agentq.start(read.s({"inline-imput": 1}))
    agentq_inline.run()
    assert "which is no limit of step" in workflow.dead_letters()[0].error_message


def test_used_tokens_by_the_names_of_limits_count(agentq_inline: Inline) -> None:
    agentq.start(read.s({"inline-input": 500})).result()
    before = agentq_inline.now
    agentq.start(read.s(1)).result()
    assert (agentq_inline.now - before).total_seconds() >= 350
