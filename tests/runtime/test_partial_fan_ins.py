"""Fan-ins that go on without a member, in a real worker: what the body sees, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Signature, group

from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.operations import dead_letters
from agentq.operations.schemas import DeadLetterSummary
from agentq.runtime.workflow import Workflow
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus
from tests.runtime.partial_steps import part, report
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Gates, eventually, redis_server
from tests.support.steps import echo


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("partial")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, arguments=("-I", "tests.runtime.partial_steps"), concurrency=3) as running,
    ):
        yield running


def parts(gates: Gates, *hows: str) -> list[Signature]:
    return [part.s(f"p{number}", how, str(gates.folder)) for number, how in enumerate(hows)]


def lacking(at: Stack, workflow: Workflow[Any]) -> DeadLetterSummary:
    """Wait for the dead letter of a fan-in with missing members, until it is recorded."""
    of_it = dead_letters.DeadLetterFilter(workflow=workflow.id, category="missing_members")

    def recorded() -> DeadLetterSummary | None:
        letters = dead_letters.list_(at.agentq.ledger, of_it)
        return letters[0] if letters and letters[0].recorded_at else None

    letter = eventually(recorded, 30, what="a dead letter of the fan-in")
    assert letter is not None
    return letter


def test_the_body_sees_what_is_there_and_why_the_rest_is_not(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(group(parts(gates, "work", "fail", "work")) | report.s().set(needs=2))
    assert workflow.result(20) == {
        "there": ["p0", "p2"],
        "missing": [[1, "part", "error", "p1 is beyond repair"]],
    }
    (letter,) = dead_letters.list_(at.agentq.ledger, dead_letters.DeadLetterFilter(workflow=workflow.id))
    assert letter.error_message == "p1 is beyond repair", "what is done without is still a dead letter"


def test_a_hanging_member_is_stopped_and_dropped_after_the_deadline(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(group(parts(gates, "work", "hang")) | report.s().set(within=1))
    given = workflow.result(20)
    assert given["there"] == ["p0"]
    assert [missing[:3] for missing in given["missing"]] == [[1, "part", "deadline_exceeded"]]
    gates.await_reached("saw it")
    hung = workflow.jobs()[1]
    assert (hung.status, [attempt.outcome for attempt in hung.attempts]) == (
        JobStatus.CANCELLED,
        [AttemptOutcome.CANCELLED],
    )


def test_with_too_few_members_it_stops_with_the_reason(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(group(parts(gates, "fail", "fail", "work")) | report.s().set(needs=0.5))
    with pytest.raises(StepFailed, match="2 of its 3 members are missing, but it needs 50%"):
        workflow.result(20)


@pytest.mark.parametrize("how", ["later", "die"])
def test_late_members_are_a_dead_letter_of_the_fan_in_and_can_be_replayed(
    at: Stack, gates: Gates, how: str
) -> None:
    """They wait for a retry when the time is over: of their own error, or since their process was killed."""
    workflow = at.agentq.start(group(parts(gates, "work", how, how)) | report.s().set(needs=3, within=1))
    letter = lacking(at, workflow)
    assert letter.error_message == "2 of its 3 members are missing, but it needs 3"
    (gates.folder / "fixed").touch()
    dead_letters.replay(at.agentq.ledger, str(letter.id), actor="ann", reason="it is fixed")
    assert workflow.result(30) == {"there": ["p0", "p1", "p2"], "missing": []}
    assert workflow.dead_letters() == []


def test_a_fan_in_with_missing_members_goes_on_with_the_rest(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(group(parts(gates, "work", "later")) | report.s().set(needs=2, within=1))
    dead_letters.resolve(at.agentq.ledger, str(lacking(at, workflow).id), actor="ann", reason="one is enough")
    given = workflow.result(30)
    assert given["there"] == ["p0"]
    assert [missing[:2] for missing in given["missing"]] == [[1, "part"]]


def test_one_job_can_be_cancelled_and_the_rest_goes_on(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(group(parts(gates, "hang", "work")) | report.s().set(needs="any"))
    gates.await_reached("hanging")
    hung = workflow.jobs()[0]
    assert workflow.cancel_job(str(hung.id), "too slow", actor="ann")
    assert workflow.result(20)["missing"] == [[0, "part", "cancelled", "ann cancelled it: too slow"]]
    assert not workflow.cancel_job(str(hung.id), "again"), "it has ended"
    gates.await_reached("saw it")


def test_a_job_that_all_needs_takes_the_workflow_along(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(parts(gates, "hang")[0] | echo.s())
    gates.await_reached("hanging")
    assert workflow.cancel_job(str(workflow.jobs()[1].id), "not needed", actor="ann")
    with pytest.raises(WorkflowCancelled, match="not needed"):
        workflow.result(20)
    gates.await_reached("saw it")


def test_a_replayed_member_completes_its_fan_in(at: Stack, gates: Gates) -> None:
    canvas = group(parts(gates, "fail", "work")) | report.s().set(needs=2)
    workflow = at.agentq.start(canvas)
    eventually(lambda: workflow.status == WorkflowStatus.FAILED, 20, what="a workflow that stopped")
    ledger = at.agentq.ledger
    of_workflow = dead_letters.DeadLetterFilter(workflow=workflow.id)
    of_fan_in, of_member = sorted(dead_letters.list_(ledger, of_workflow), key=lambda letter: letter.step)
    assert of_fan_in.error_category == "missing_members"
    dead_letters.resolve(ledger, str(of_member.id), result="p0 by hand", actor="ann", reason="known")
    assert workflow.result(20) == {"there": ["p0 by hand", "p1"], "missing": []}
    assert dead_letters.list_(ledger, of_workflow) == []
