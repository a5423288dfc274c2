"""A fan-in that got too few members in its time, inline: what is there to be decided, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from celery import group

import agentq
from agentq import step
from agentq.exceptions import StepFailed
from agentq.operations import audit, dead_letters
from agentq.runtime.workflow import Workflow
from agentq.states import WorkflowStatus
from agentq.testing import assert_dead_letter, assert_succeeded
from agentq.testing.inline import Inline
from tests.support.steps import total


@step(retries=3)
def part(number: int) -> int:
    raise NotImplementedError


@pytest.fixture
def lacking(agentq_inline: Inline) -> Workflow[Any]:
    """Two of three members wait for a retry when their fan-in's time is over; then the provider is back."""

    def engaged(number: int) -> int:
        if number:
            raise ConnectionError("engaged")
        return 10

    agentq_inline.stub(part, engaged)
    workflow = agentq.start(group(part.s(n) for n in range(3)) | total.s().set(needs=2, within=1), key="once")
    agentq_inline.run()
    agentq_inline.advance(600)
    agentq_inline.stub(part, lambda number: number + 10)
    return workflow


def test_a_fan_in_with_too_few_members_is_a_dead_letter_and_the_ledger_is_sound(
    agentq_inline: Inline, lacking: Workflow[Any]
) -> None:
    letter = assert_dead_letter(lacking, category="missing_members", error="2 of its 3 members are missing")
    assert [job.kind for job in lacking.jobs() if job.id == letter.job_id] == ["join"]
    with pytest.raises(StepFailed, match=r"^a fan-in failed: agentq\.MissingMembers: .* but it needs 2"):
        lacking.result(0)
    assert audit.run(agentq_inline.ledger).is_sound


def test_replay_runs_the_missing_members_under_the_same_key(agentq_inline: Inline, lacking: Workflow[Any]) -> None:
    letter = assert_dead_letter(lacking)
    dead_letters.replay(agentq_inline.ledger, str(letter.id), actor="ann")
    assert lacking.status is WorkflowStatus.RUNNING
    agentq_inline.run()
    assert assert_succeeded(lacking) == 10 + 11 + 12
    again = agentq.start(group(part.s(n) for n in range(3)) | total.s().set(needs=2, within=1), key="once")
    assert (again.id, again.is_new) == (lacking.id, False)


def test_continue_goes_on_with_the_finished_members(agentq_inline: Inline, lacking: Workflow[Any]) -> None:
    dead_letters.resolve(agentq_inline.ledger, str(assert_dead_letter(lacking).id), actor="ann")
    agentq_inline.run()
    assert assert_succeeded(lacking) == 10


def test_cancel_ends_it(agentq_inline: Inline, lacking: Workflow[Any]) -> None:
    dead_letters.cancel(agentq_inline.ledger, str(assert_dead_letter(lacking).id), actor="ann")
    agentq_inline.advance(600)
    assert lacking.status is WorkflowStatus.FAILED
    assert lacking.dead_letters() == []
    assert audit.run(agentq_inline.ledger).is_sound


def test_members_that_are_late_again_are_a_new_letter(agentq_inline: Inline, lacking: Workflow[Any]) -> None:
    first = assert_dead_letter(lacking)
    agentq_inline.fail(part, ConnectionError("engaged"))
    dead_letters.replay(agentq_inline.ledger, str(first.id), actor="ann")
    agentq_inline.advance(600)
    letters = lacking.dead_letters()
    assert [letter.error_category for letter in letters].count("missing_members") == 1
    assert first.id not in [letter.id for letter in letters]
