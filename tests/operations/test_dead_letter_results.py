"""A dead job is given its result by hand: it fits what the step returns, and the workflow goes on with it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import pytest
from celery import group
from pydantic import BaseModel, ConfigDict

from agentq import each, step
from agentq.exceptions import ConfigurationError, InvalidResult, ValueTooLarge
from agentq.operations import dead_letters
from agentq.states import DeadLetterStatus, JobStatus, WorkflowStatus
from tests.operations.letters import WHO, ask, die, forget_step
from tests.support.player import Player
from tests.support.steps import add, echo, fail, numbers, plain, total


class Colour(StrEnum):
    RED = "red"


class Report(BaseModel):
    """Strict: in Python, only the very types will do; in JSON, what stands for them."""

    model_config = ConfigDict(strict=True)

    colour: Colour
    made: datetime
    pages: int = 1


@step
def report(title: str) -> Report:
    raise NotImplementedError(title)


def test_a_workflow_goes_on_with_the_result_through_its_joins(player: Player) -> None:
    started = player.start(group(add.s(1, 2), add.s(3, 4) | add.s(5)) | total.s() | echo.s())
    dead, alive = map(player.take, started.bells)
    player.fail(dead)
    player.run(*player.succeed(alive, 7).bells)
    letter = dead_letters.resolve(player.ledger, str(dead.job_id), result=30, **WHO)
    assert letter.status == DeadLetterStatus.RESOLVED
    assert [(deed.action, deed.actor, deed.reason) for deed in letter.actions] == [
        ("resolve", "ann", "the cause is known")
    ]
    rung = player.due()
    assert [bell.step for bell in rung] == [total.name]
    assert player.workflow(dead.workflow_id).status == WorkflowStatus.RUNNING
    player.run(*rung)
    assert player.result(dead.workflow_id) == {"args": [42], "kwargs": {}}


def test_an_each_grows_from_a_result_by_hand(player: Player) -> None:
    held = die(player, numbers.s(2) | each(add.s(1)) | total.s())
    dead_letters.resolve(player.ledger, str(held.job_id), result=[10, 20, 30])
    assert player.run(*player.due()) == 4
    assert player.result(held.workflow_id) == 63


def test_the_last_job_ends_its_workflow(player: Player) -> None:
    held = die(player, add.s(1, 2))
    dead_letters.resolve(player.ledger, str(held.job_id), result=3)
    assert player.result(held.workflow_id) == 3
    assert player.due() == []


def test_another_failed_job_keeps_the_workflow_failed(player: Player) -> None:
    one, two = map(player.take, player.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells)
    player.fail(one)
    player.fail(two)
    dead_letters.resolve(player.ledger, str(one.job_id), result=3)
    assert player.workflow(one.workflow_id).status == WorkflowStatus.FAILED


def test_a_result_is_read_as_json_is_and_kept_as_the_step_would_return_it(player: Player) -> None:
    held = die(player, report.s("x"))
    given = {"colour": "red", "made": "2026-11-22T05:00:00Z"}
    dead_letters.resolve(player.ledger, str(held.job_id), result=given)
    assert player.result(held.workflow_id) == {**given, "pages": 1}


def test_nothing_is_a_result_where_the_step_returns_nothing(player: Player) -> None:
    held = die(player, fail.s("x"))
    dead_letters.resolve(player.ledger, str(held.job_id), result=None)
    assert player.result(held.workflow_id) is None


def test_a_result_that_does_not_fit_is_refused_and_changes_nothing(player: Player) -> None:
    held = die(player, ask.s("one"))
    with pytest.raises(InvalidResult, match=r"result.one: Input should be a valid integer.*Nothing was changed"):
        dead_letters.resolve(player.ledger, str(held.job_id), result={"one": "many"})
    with pytest.raises(InvalidResult, match=r"NaN|nan"):
        dead_letters.resolve(player.ledger, str(held.job_id), result=float("nan"))
    with pytest.raises(ValueTooLarge, match="over the limit of 1,024"):
        dead_letters.resolve(player.ledger, str(held.job_id), result={"x" * 1_024: 1}, max_value_bytes=1_024)
    assert player.job(held.job_id).status == JobStatus.FAILED
    assert dead_letters.get(player.ledger, str(held.job_id)).status == DeadLetterStatus.OPEN


def test_a_step_that_no_code_has_is_resolved_only_on_purpose(player: Player) -> None:
    held = die(player, ask.s("one"))
    forget_step(player, held.job_id)
    with pytest.raises(ConfigurationError, match=r"'gone\.step' is not known here.*-A MODULE.*--unchecked"):
        dead_letters.resolve(player.ledger, str(held.job_id), result={"one": 1})
    dead_letters.resolve(player.ledger, str(held.job_id), result={"one": 1}, unchecked=True)
    assert player.result(held.workflow_id) == {"one": 1}


def test_a_plain_task_takes_whatever_is_json(player: Player) -> None:
    held = die(player, plain.s(1))
    dead_letters.resolve(player.ledger, str(held.job_id), result=["any", {"thing": None}])
    assert player.result(held.workflow_id) == ["any", {"thing": None}]
