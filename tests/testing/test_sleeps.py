"""Sleeps in canvases: over at their time, without a worker, with the result of what is before them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain, chord, group

import agentq
from agentq import each, sleep
from agentq.exceptions import CanvasError
from agentq.operations import audit, tenants
from agentq.testing.inline import Inline
from tests.support.steps import add, numbers, total

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _sound(agentq_inline: Inline) -> Any:
    yield
    assert audit.run(agentq_inline.ledger).is_sound


def test_a_sleep_ends_at_its_time_and_passes_on_what_it_was_given(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | sleep(days=3) | add.s(10))
    agentq_inline.advance(3 * DAY - timedelta(minutes=1))
    first, slept, last = workflow.jobs()
    assert [job.status for job in (first, slept, last)] == ["succeeded", "scheduled", "waiting"]
    assert slept.kind == "sleep"
    agentq_inline.advance(timedelta(minutes=2))
    assert workflow.result(timeout=0) == 13


@pytest.mark.parametrize(
    ("canvas", "result"),
    [
        pytest.param(sleep(hours=1) | add.s(1, 2), 3, id="first"),
        pytest.param(sleep(hours=1) | sleep(minutes=1) | add.s(1, 2), 3, id="two, first"),
        pytest.param(add.s(1, 2) | sleep(hours=1), 3, id="last"),
        pytest.param(add.s(1, 2) | sleep(hours=1) | sleep(hours=1) | add.s(1), 4, id="two"),
        pytest.param(group(sleep(hours=1) | add.s(1, 2), add.s(3, 4)), [3, 7], id="in a group"),
        pytest.param(group(add.s(1, 2) | sleep(hours=1), add.s(3, 4)), [3, 7], id="at the end of a branch"),
        pytest.param(group(sleep(hours=1), add.s(3, 4)), [None, 7], id="a branch by itself"),
        pytest.param(group(add.s(1, 2), add.s(3, 4)) | sleep(hours=1) | total.s(), 10, id="after a group"),
        pytest.param(sleep(hours=1) | group(add.s(1, 2), add.s(3, 4)), [3, 7], id="before a group"),
        pytest.param(sleep(hours=1) | chord([add.s(1, 2), add.s(3, 4)], total.s()), 10, id="before a chord"),
        pytest.param(numbers.s(3) | each(sleep(hours=1) | add.s(1)), [1, 2, 3], id="first of a branch of each"),
        pytest.param(numbers.s(3) | each(add.s(1) | sleep(hours=1)), [1, 2, 3], id="last of a branch of each"),
        pytest.param(numbers.s(3) | sleep(hours=1) | each(add.s(1)), [1, 2, 3], id="before each"),
        pytest.param(chain(add.s(1, 2), sleep(hours=1), add.si(5, 6)), 11, id="before a step that takes nothing"),
    ],
)
def test_a_sleep_stands_anywhere_in_a_canvas(agentq_inline: Inline, canvas: Any, result: Any) -> None:
    workflow = agentq.start(canvas)
    agentq_inline.run()
    assert workflow.status == "running"
    agentq_inline.advance(timedelta(hours=3))
    assert workflow.result(timeout=0) == result


def test_a_sleep_until_a_time_ends_then(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | sleep(until=agentq_inline.now + DAY))
    agentq_inline.advance(DAY - timedelta(seconds=1))
    assert workflow.status == "running"
    agentq_inline.advance(timedelta(seconds=2))
    assert workflow.result(timeout=0) == 3


def test_a_sleep_until_a_time_that_has_passed_ends_at_once(agentq_inline: Inline) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    workflow = agentq.start(sleep(until=past) | add.s(1, 2) | sleep(until=past) | add.s(1))
    agentq_inline.run()
    assert workflow.result(timeout=0) == 4


def test_a_sleep_of_a_workflow_that_is_cancelled_ends_with_it(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | sleep(days=1) | add.s(1))
    agentq_inline.run()
    workflow.cancel()
    agentq_inline.advance(2 * DAY)
    assert [job.status for job in workflow.jobs()] == ["succeeded", "cancelled", "cancelled"]


def test_a_job_that_sleeps_says_until_when(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | sleep(days=1))
    agentq_inline.run()
    _, slept = workflow.jobs()
    assert str(slept.waiting_for).startswith("its time, ")


def test_a_fan_in_whose_time_is_over_goes_on_without_a_branch_that_sleeps(agentq_inline: Inline) -> None:
    canvas = group(add.s(1, 2) | sleep(days=2), add.s(3, 4)) | total.s().set(within=3600.0, needs="any")
    workflow = agentq.start(canvas)
    agentq_inline.advance(DAY)
    assert workflow.result(timeout=0) == 7


def test_a_sleep_of_a_postponed_workflow_begins_when_it_is_let_in(agentq_inline: Inline) -> None:
    tenants.set_max_open(agentq_inline.ledger, "full", 0)
    workflow = agentq.start(sleep(hours=1) | add.s(1, 2), tenant="full", on_full="postpone")
    agentq_inline.advance(DAY)
    assert [job.status for job in workflow.jobs()] == ["blocked", "waiting"]
    tenants.set_max_open(agentq_inline.ledger, "full", 1)
    agentq_inline.run()
    assert [job.status for job in workflow.jobs()] == ["scheduled", "waiting"]
    agentq_inline.advance(timedelta(hours=2))
    assert workflow.result(timeout=0) == 3


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sleep(), "must be over 0 seconds"),
        (lambda: sleep(days=-1), "must be over 0 seconds"),
        (lambda: sleep(days=4000), "3650 days at most"),
        (lambda: sleep(days=float("nan")), "give numbers"),
        (lambda: sleep(days="3"), "give numbers"),  # type: ignore[arg-type]
        (lambda: sleep(until=datetime(2030, 1, 1)), "with a time zone"),
        (lambda: sleep(until=datetime(2030, 1, 1, tzinfo=UTC), days=1), "give one of them"),
        (lambda: agentq.start(sleep(days=1)), "has nothing in it"),
        (lambda: agentq.start(numbers.s(2) | each(sleep(days=1))), "has an empty canvas"),
        (lambda: agentq.start(sleep(days=1) | each(add.s(1))), "each() stands first"),
        (lambda: agentq.start(add.s(1, 2) | sleep(days=1).set(queue="other")), "'queue' on sleep()"),
        (lambda: agentq.start(add.s(1, 2) | sleep(days=1) | total.s()), "gives int"),
    ],
)
def test_a_sleep_that_cannot_be_is_refused(agentq_inline: Inline, make: Any, says: str) -> None:
    with pytest.raises(CanvasError) as refused:
        make()
    assert says in str(refused.value)
