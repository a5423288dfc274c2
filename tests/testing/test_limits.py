"""Limits hold inline: jobs over a limit are blocked until another one has ended, or until time lets them go."""

from __future__ import annotations

from typing import Any

import pytest
from celery import group

import agentq
from agentq import Concurrency, Context, Cooldown, each, step
from agentq.exceptions import BacklogFull, LimitReached, StepFailed, WorkflowCancelled
from agentq.operations import audit, limits
from agentq.testing import assert_succeeded, assert_waiting_for
from agentq.testing.inline import Inline
from tests.support.steps import numbers, total

HOUR = 3600.0
NAME = "inline:small"


@step(limits=[Concurrency("inline", key="model", limit=2)])
def ask(number: int, model: str = "small") -> int:
    return number


@step
def search(ctx: Context, model: str = "small") -> str:
    with ctx.limit(f"inline:{model}", wait=30):
        return model


@step
async def look_up(ctx: Context, model: str = "small") -> str:
    async with ctx.limit(f"inline:{model}", wait=30), ctx.limit(f"inline:{model}"):
        return model


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    """After every test its ledger is sound, and no slot is held."""
    yield
    assert audit.run(agentq_inline.ledger).is_sound
    assert {limit.used for limit in limits.list_(agentq_inline.ledger)} <= {0}


@pytest.fixture
def paused(agentq_inline: Inline) -> Inline:
    """A limit that a job has used, and that is paused for an hour."""
    agentq.start(ask.s(0)).result()
    limits.change(agentq_inline.ledger, NAME, 0, until=HOUR, actor="ann", reason="the provider is down")
    return agentq_inline


def test_a_job_over_the_limit_is_blocked_until_the_run_that_ends_another(agentq_inline: Inline) -> None:
    workflow = agentq.start(group(ask.s(number) for number in range(3)))
    statuses = sorted(job.status for job in workflow.jobs() if job.step == ask.name)
    assert statuses == ["blocked", "queued", "queued"]
    assert_waiting_for(workflow, f"slots of {NAME}, 2 of 2, 1st", ask)
    assert agentq_inline.run() == 3
    assert assert_succeeded(workflow) == [0, 1, 2]


def test_an_each_of_more_members_than_slots_ends(agentq_inline: Inline) -> None:
    workflow = agentq.start(numbers.s(20) | each(ask.s()) | total.s())
    assert workflow.result() == sum(range(20))


def test_a_pause_before_a_retry_lets_the_next_job_run(agentq_inline: Inline) -> None:
    agentq_inline.fail(ask, agentq.Retry("busy", after=60), times=2)
    workflow = agentq.start(group(ask.s(number) for number in range(3)))
    agentq_inline.run()
    statuses = sorted(job.status for job in workflow.jobs() if job.step == ask.name)
    assert statuses == ["scheduled", "scheduled", "succeeded"]
    agentq_inline.advance(HOUR)
    assert assert_succeeded(workflow) == [0, 1, 2]


def test_a_blocked_job_expires_at_its_time(paused: Inline) -> None:
    workflow = agentq.start(ask.s(1).set(expires=60))
    assert_waiting_for(workflow, f"slots of {NAME}, paused by ann until", ask)
    before = paused.now
    with pytest.raises(WorkflowCancelled, match="expired before it ran"):
        workflow.result()
    assert 59 <= (paused.now - before).total_seconds() < HOUR


def test_a_blocked_job_runs_when_the_pause_of_its_limit_ends(paused: Inline) -> None:
    workflow = agentq.start(ask.s(1))
    before = paused.now
    assert workflow.result() == 1
    assert HOUR - 60 <= (paused.now - before).total_seconds() <= HOUR + 60


class Refused(Exception):
    """The answer of a provider that refuses a call."""

    status_code = 429
    headers = {"retry-after": "30"}


@step(limits=[Concurrency("refusing", limit=2), Cooldown("refusing")])
def call(number: int) -> int:
    return number


@step(limits=[Cooldown("refusing-once")], retries=0)
def call_once(number: int) -> int:
    return number


def test_a_refused_call_lets_its_limit_cool_and_time_opens_it_by_degrees(agentq_inline: Inline) -> None:
    called = agentq_inline.fail(call, Refused("slow down"), times=1)
    workflow = agentq.start(group(call.s(number) for number in range(6)))
    agentq_inline.run()
    assert called.call_count == 2, "the other one had its slot already"
    assert_waiting_for(workflow, "cooldown of refusing, 30 s (429), 1st", call)
    before = agentq_inline.now
    assert workflow.result() == list(range(6))
    assert 29 <= (agentq_inline.now - before).total_seconds() < 40
    [refused] = [job for job in workflow.jobs() if job.step == call.name and job.attempt == 2]
    assert (refused.deferrals, refused.attempts_summary) == (1, "1 of 5, 1 more at no cost")


def test_a_step_without_retries_waits_for_a_limit_that_cools_and_runs_once_more(agentq_inline: Inline) -> None:
    called = agentq_inline.fail(call_once, Refused("slow down"), times=2)
    assert agentq.start(call_once.s(1)).result() == 1
    assert called.call_count == 3
    agentq_inline.fail(call_once, TimeoutError("no answer"), times=1)
    with pytest.raises(StepFailed, match="no answer"):
        agentq.start(call_once.s(2)).result()


def test_a_quota_that_is_used_up_closes_no_limit(agentq_inline: Inline) -> None:
    class UsedUp(Refused):
        code = "insufficient_quota"

    agentq_inline.fail(call, UsedUp("pay first"), times=1)
    failing, other = agentq.start(call.s(1)), agentq.start(call.s(2))
    agentq_inline.run()
    assert failing.status == "failed"
    assert_succeeded(other)


@pytest.mark.parametrize("called", [search, look_up], ids=["def", "async"])
def test_a_call_holds_a_slot_and_gives_it_back(agentq_inline: Inline, called: Any) -> None:
    assert agentq.start(called.s()).result() == "small"
    assert limits.get(agentq_inline.ledger, NAME).slots == 2


def test_a_job_without_a_slot_for_its_call_waits_in_the_line_at_no_cost(paused: Inline) -> None:
    workflow = agentq.start(search.s())
    before = paused.now
    paused.run()
    assert 30 <= (paused.now - before).total_seconds() < 60
    assert_waiting_for(workflow, f"slots of {NAME}, paused by ann", search)
    limits.resume(paused.ledger, NAME, actor="ann")
    paused.run()
    assert assert_succeeded(workflow) == "small"
    [job] = workflow.jobs()
    assert (job.attempt, job.attempts_summary) == (2, "1 of 5, 1 more at no cost")


def test_a_start_over_a_cap_in_a_step_closes_no_limit(agentq_inline: Inline) -> None:
    agentq_inline.fail(call, BacklogFull("max_open", "acme", 1, 1, 1, 300.0), times=1)
    starting, other = agentq.start(call.s(1)), agentq.start(call.s(2))
    agentq_inline.run()
    assert other.status == "succeeded"
    assert_waiting_for(starting, "its time", call)


def test_a_call_of_a_limit_that_does_not_exist_is_refused_with_the_nearest(agentq_inline: Inline) -> None:
    workflow = agentq.start(lost.s())
    agentq_inline.run()
    with pytest.raises(StepFailed, match="there is no such limit"):
        workflow.result()


def test_a_job_that_gets_no_second_slot_has_an_error_like_any_other(agentq_inline: Inline) -> None:
    workflow = agentq.start(nested.s())
    agentq_inline.run()
    with pytest.raises(StepFailed, match="no slot of limit 'narrow:one' was free within 2 s: 1 of 1 are used"):
        workflow.result()
    [job] = workflow.jobs()
    assert (job.attempt, job.attempts_summary) == (2, "1 of 1, 1 more at no cost")


@step(limits=[Concurrency("narrow", limit=1, key=lambda: None)], retries=0)
def nested(ctx: Context) -> None:
    with ctx.limit("narrow:one", wait=2), ctx.limit("narrow:one", wait=2):
        pass


def test_a_step_that_goes_on_without_a_slot_succeeds(paused: Inline) -> None:
    assert agentq.start(patient.s()).result(60) == f"0 of 0 of {NAME}, 0.0"


@step
def patient(ctx: Context) -> str:
    try:
        with ctx.limit(NAME, wait=0):
            return "called"
    except LimitReached as full:
        return f"{full.used} of {full.slots} of {full.limit}, {full.wait:.1f}"


@step(retries=0)
def lost(ctx: Context) -> None:
    with ctx.limit("inlien"):
        pass


def test_the_name_of_a_limit_with_keys_is_no_limit_of_calls(agentq_inline: Inline) -> None:
    workflow = agentq.start(keyless.s())
    agentq_inline.run()
    with pytest.raises(
        StepFailed, match=r"'inline' is divided by its key \('model'\).*ctx\.limit\('inline:NAME'\)"
    ):
        workflow.result()
    assert [limit.name for limit in limits.list_(agentq_inline.ledger)] == []


@step(retries=0)
def keyless(ctx: Context) -> None:
    with ctx.limit("inline"):
        pass
