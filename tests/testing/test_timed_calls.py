"""Calls inside steps under a rate, tokens and a cooldown, inline: the clock moves to their starts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from celery import group

import agentq
from agentq import Concurrency, Context, Cooldown, Rate, Tokens, step
from agentq.exceptions import LimitReached, StepFailed
from agentq.operations import audit, limits
from agentq.testing import assert_succeeded, assert_waiting_for
from agentq.testing.inline import Inline

GAP = 10.0
"""Seconds from one start of the limit to the next."""


@step(limits=[Rate("web", limit=7, per=60, key="site")])
def declare(site: str) -> str:
    return site


@step
def search(ctx: Context, calls: int, wait: float = 600.0) -> int:
    for _ in range(calls):
        with ctx.limit("web:news", wait=wait):
            pass
    return calls


@step
async def look_up(ctx: Context, calls: int) -> int:
    for _ in range(calls):
        async with ctx.limit("web:news", wait=600):
            pass
    return calls


@step(limits=[Rate("own", limit=7, per=60)])
def call_own(ctx: Context, calls: int) -> int:
    for _ in range(calls):
        with ctx.limit("own", wait=600):
            pass
    return calls


@step(limits=[Tokens("spent", limit=700, per=60, burst=100, estimate=0)])
def declare_tokens() -> None:
    pass


@step
def spend(ctx: Context, tokens: int, used: int | None = None, wait: float = 600.0) -> None:
    with ctx.limit("spent", tokens=tokens, wait=wait) as call:
        if used is not None:
            call.used(tokens=used)


@step
def spend_unsaid(ctx: Context) -> None:
    with ctx.limit("spent"):
        pass


class Refused(Exception):
    """The answer of a provider that refuses a call."""

    status_code = 429
    headers = {"retry-after": "30"}


@step(limits=[Concurrency("replacing", limit=2, key="name"), Cooldown("replacing", key="name")])
def declare_provider(name: str) -> None:
    pass


@step
def ask(ctx: Context, refuse: bool, wait: float = 5.0) -> str:
    try:
        with ctx.limit("replacing:a", wait=wait):
            if refuse:
                raise Refused("slow down")
    except Refused:
        return "another provider"
    return "the provider"


@step
async def ask_async(ctx: Context, refuse: bool) -> str:
    with suppress(Refused):
        async with ctx.limit("replacing:a", wait=5):
            if refuse:
                raise Refused("slow down")
    return "another provider"


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound, and no slot is held."""
    yield
    assert audit.run(agentq_inline.ledger).is_sound
    assert {limit.used for limit in limits.list_(agentq_inline.ledger)} <= {0}


def took(inline: Inline, workflow: agentq.Workflow) -> float:
    """The seconds that a workflow took by the ledger's clock."""
    before = inline.now
    inline.run()
    assert_succeeded(workflow)
    return (inline.now - before).total_seconds()


@pytest.mark.parametrize("called", [search, look_up, call_own], ids=["def", "async", "own"])
def test_calls_over_a_rate_sleep_until_their_starts_are_due(agentq_inline: Inline, called: Any) -> None:
    assert took(agentq_inline, agentq.start(called.s(calls=4))) == pytest.approx(3 * GAP, abs=2)


def test_a_call_whose_start_is_due_too_late_lets_its_job_wait_in_the_line_at_once(agentq_inline: Inline) -> None:
    agentq.start(search.s(calls=1)).result()
    workflow, before = agentq.start(search.s(calls=1, wait=5)), agentq_inline.now
    agentq_inline.run()
    assert (agentq_inline.now - before).total_seconds() < 2
    assert_waiting_for(workflow, "rate of web:news, ", search)
    assert workflow.result() == 1
    [job] = workflow.jobs()
    assert (job.attempt, job.attempts_summary) == (2, "1 of 5, 1 more at no cost")


def test_calls_and_jobs_of_one_limit_pay_for_their_starts_together(agentq_inline: Inline) -> None:
    agentq.start(search.s(calls=1)).result()
    workflow = agentq.start(group(declare.s("news"), search.s(calls=1)))
    before = agentq_inline.now
    workflow.result()
    assert (agentq_inline.now - before).total_seconds() == pytest.approx(2 * GAP, abs=2)


@pytest.mark.parametrize(("used", "seconds"), [(None, 10.0), (20, 2.0), (150, 15.0)])
def test_the_tokens_that_a_block_has_used_count(agentq_inline: Inline, used: int | None, seconds: float) -> None:
    agentq.start(declare_tokens.s()).result()
    agentq_inline.advance(60)
    agentq.start(spend.s(tokens=100, used=used)).result()
    assert took(agentq_inline, agentq.start(spend.s(tokens=100))) == pytest.approx(seconds, abs=1)


def test_the_block_of_a_job_that_waited_for_tokens_has_those_that_its_claim_paid(agentq_inline: Inline) -> None:
    agentq.start(spend.s(tokens=100)).result()
    workflow = agentq.start(spend.s(tokens=100, used=20, wait=1))
    agentq_inline.run()
    assert_waiting_for(workflow, "tokens of spent, ", spend)
    workflow.result()
    assert took(agentq_inline, agentq.start(spend.s(tokens=100))) == pytest.approx(2, abs=1)


def test_a_block_of_tokens_without_a_number_is_refused_with_what_to_say(agentq_inline: Inline) -> None:
    workflow = agentq.start(spend_unsaid.s())
    agentq_inline.run()
    with pytest.raises(StepFailed, match=r"'spent' counts tokens; say how many"):
        workflow.result()


def test_a_refused_call_closes_its_limit_also_where_the_step_goes_on(agentq_inline: Inline) -> None:
    assert agentq.start(ask.s(refuse=True)).result() == "another provider"
    workflow = agentq.start(ask.s(refuse=False))
    agentq_inline.run()
    assert_waiting_for(workflow, "cooldown of replacing:a, ", ask)
    assert workflow.result() == "the provider"


def test_a_call_sleeps_through_a_cooldown_that_ends_within_its_wait(agentq_inline: Inline) -> None:
    agentq.start(ask.s(refuse=True)).result()
    assert took(agentq_inline, agentq.start(ask.s(refuse=False, wait=60))) == pytest.approx(30, abs=2)


def test_a_step_may_catch_that_its_start_is_due_too_late(agentq_inline: Inline) -> None:
    agentq.start(search.s(calls=1)).result()
    assert 8 < agentq.start(due_in.s()).result() <= GAP


@step
def due_in(ctx: Context) -> float:
    try:
        with ctx.limit("web:news", wait=0):
            return 0
    except LimitReached as late:
        return late.due_in


@pytest.mark.parametrize("called", [ask, ask_async], ids=["def", "async"])
def test_a_refused_call_in_the_slot_of_its_job_closes_the_limit_too(agentq_inline: Inline, called: Any) -> None:
    agentq.start(ask.s(refuse=True)).result()
    in_line = agentq.start(called.s(refuse=True))
    agentq_inline.run()
    assert_waiting_for(in_line, "cooldown of replacing:a, ", called)
    assert in_line.result() == "another provider"
    assert limits.get(agentq_inline.ledger, "replacing:a").cooldown is not None
    workflow = agentq.start(ask.s(refuse=False))
    agentq_inline.run()
    assert_waiting_for(workflow, "cooldown of replacing:a, ", ask)
    assert workflow.result() == "the provider"
