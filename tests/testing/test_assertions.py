"""The messages of failed assertions, and the context of a unit test."""

from __future__ import annotations

import pytest
from celery import group

import agentq
from agentq import Context, step
from agentq.steps.context import MissingMember
from agentq.testing import assert_dead_letter, assert_succeeded, assert_waiting_for, make_context
from agentq.testing.inline import Inline
from tests.support.steps import add, echo, fail, numbers, total


def test_a_failed_workflow_is_shown_job_by_job(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | fail.si("no such thing") | numbers.s())
    agentq_inline.run()
    with pytest.raises(AssertionError) as failure:
        assert_succeeded(workflow)
    head, header, *jobs = str(failure.value).splitlines()
    assert head == f"expected that it succeeded, but workflow {workflow.id} is failed"
    assert header.split() == ["step", "status", "attempts", "waits", "for", "error"]
    assert [job.split()[:5] for job in jobs] == [
        [add.name, "succeeded", "1", "of", "5"],
        [fail.name, "failed", "1", "of", "1"],
        [numbers.name, "waiting", "0", "of", "5"],
    ]
    assert jobs[1].endswith("invalid_input: ValueError: no such thing")
    assert "1 job(s) before it: step 'tests.support.steps.fail' failed; decide with: " in jobs[2]


def test_an_error_of_many_lines_is_one_line_of_the_table(agentq_inline: Inline) -> None:
    workflow = agentq.start(fail.s("x\n" * 500))
    agentq_inline.run()
    with pytest.raises(AssertionError) as failure:
        assert_succeeded(workflow)
    lines = str(failure.value).splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("…")


def test_a_dead_letter_that_is_not_there_shows_those_that_are(agentq_inline: Inline) -> None:
    workflow = agentq.start(fail.s("no such thing"))
    agentq_inline.run()
    assert assert_dead_letter(workflow).step == fail.name
    assert_dead_letter(workflow, fail, category="invalid_input", error="such thing")
    for wanted in ({"step": add}, {"category": "connection"}, {"error": "another thing"}):
        with pytest.raises(AssertionError) as failure:
            assert_dead_letter(workflow, **wanted)
        assert f"one open dead letter with {next(iter(wanted))} '" in str(failure.value)
        assert f"open dead letters: \n  {fail.name}: invalid_input: ValueError: no" in str(failure.value)


def test_two_dead_letters_are_not_one(agentq_inline: Inline) -> None:
    workflow = agentq.start(group(fail.s("one"), fail.s("two")) | total.s())
    agentq_inline.run()
    with pytest.raises(AssertionError, match="has one open dead letter, but"):
        assert_dead_letter(workflow)
    assert assert_dead_letter(workflow, error="two").error_message == "two"


def test_no_dead_letter_at_all(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2))
    with pytest.raises(AssertionError, match="open dead letters: none"):
        assert_dead_letter(workflow)


def test_a_job_that_does_not_wait_for_that_shows_what_it_waits_for(agentq_inline: Inline) -> None:
    workflow = agentq.start(add.s(1, 2) | echo.s())
    assert assert_waiting_for(workflow, "1 job(s) before it").step == echo.name
    with pytest.raises(AssertionError, match=r"a job with step 'tests.*add' waits for 'its time', but workflow"):
        assert_waiting_for(workflow, "its time", add)


@step
def report(ctx: Context, text: str) -> str:
    if ctx.cancelled:
        return "stopped"
    return f"{text}, attempt {ctx.attempt} of {ctx.max_attempts}, without {[part.step for part in ctx.missing]}"


def test_a_step_is_called_with_a_context_of_the_tests_own() -> None:
    part = MissingMember(0, "job", "find", "error", "not there")
    assert report(make_context(attempt=2, missing=[part]), "x") == "x, attempt 2 of 5, without ['find']"
    assert report(make_context(cancelled=True), "x") == "stopped"
    assert make_context().idempotency_key != make_context().idempotency_key
