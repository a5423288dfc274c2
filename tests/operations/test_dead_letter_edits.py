"""The arguments of a dead job are edited: they fit the step, the old ones are kept, the job runs with the new."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agentq import each, step
from agentq.exceptions import ConfigurationError, InvalidArguments, ValueTooLarge
from agentq.operations import dead_letters
from tests.operations.letters import SECRET, WHO, arguments, ask, die, forget_step, run_due
from tests.operations.test_dead_letter_results import Colour, Report
from tests.support.fake_worker import FakeWorker
from tests.support.steps import echo, numbers, plain


def test_an_edited_job_runs_with_its_new_arguments(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one", limit=2) | echo.s())
    letter = dead_letters.edit(fake.ledger, str(claimed.job_id), args=["two"], **WHO)
    assert (letter.status, letter.args, letter.kwargs) == ("open", ["two"], {"limit": 2})
    dead_letters.replay(fake.ledger, str(letter.id), **WHO)
    assert run_due(fake) == 2
    assert fake.result(claimed.workflow_id) == {"args": [{"two": 2}], "kwargs": {}}


def test_the_history_shows_an_edit_with_actor_and_reason(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one", api_key=SECRET))
    dead_letters.edit(fake.ledger, str(claimed.job_id), kwargs={"limit": 3}, **WHO)
    letter = dead_letters.edit(fake.ledger, str(claimed.job_id), args=["two"], actor="bob", reason="once more")
    first, second = letter.actions
    assert (first.action, first.actor, first.reason) == ("edit arguments", "ann", "the cause is known")
    assert first.replaced == [["one"], {"api_key": "***"}]
    assert (second.actor, second.replaced) == ("bob", [["one"], {"limit": 3}])
    assert letter.snapshot["kwargs"] == {"api_key": "***"}, "it shows the job as it was when it died"
    assert SECRET not in letter.model_dump_json()


def test_a_secret_that_is_left_masked_stays(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s(f"use {SECRET}", api_key=SECRET, tags=["a", "b"]))
    shown = dead_letters.get(fake.ledger, str(claimed.job_id))
    assert (shown.args, shown.kwargs) == (["use ***"], {"api_key": "***", "tags": ["a", "b"]})
    kwargs = {**(shown.kwargs or {}), "tags": ["a"], "limit": 1}
    dead_letters.edit(fake.ledger, str(claimed.job_id), args=shown.args, kwargs=kwargs)
    assert json.loads(arguments(fake, claimed)) == [
        [f"use {SECRET}"],
        {"api_key": SECRET, "tags": ["a"], "limit": 1},
    ]


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ({"args": [7]}, "argument 'prompt' does not fit its annotation"),
        ({"kwargs": {"limit": "many"}}, "argument 'limit' does not fit its annotation"),
        ({"kwargs": {"limits": 1}}, "got an unexpected keyword argument 'limits'; its parameters are"),
        ({"args": []}, "missing a required argument: 'prompt'"),
        ({"args": ["a\x00"]}, "NUL"),
        ({}, "neither args nor kwargs is given"),
        ({"args": "two"}, "give a list and a dict"),
    ],
)
def test_arguments_that_do_not_fit_change_nothing(fake: FakeWorker, edited: dict[str, Any], expected: str) -> None:
    claimed = die(fake, ask.s("one"))
    before = arguments(fake, claimed)
    with pytest.raises(InvalidArguments, match=expected):
        dead_letters.edit(fake.ledger, str(claimed.job_id), **edited)
    assert arguments(fake, claimed) == before
    assert dead_letters.get(fake.ledger, str(claimed.job_id)).actions == []


def test_arguments_over_the_size_limit_are_refused(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    with pytest.raises(
        ValueTooLarge, match=r"the arguments of step .*over the limit of 1,024.* Nothing was changed"
    ):
        dead_letters.edit(fake.ledger, str(claimed.job_id), args=["x" * 1_024], max_value_bytes=1_024)


def test_the_result_of_the_job_before_is_no_argument(fake: FakeWorker) -> None:
    started = fake.start(echo.s() | ask.s(limit=1))
    (dispatch,) = fake.succeed(fake.take(*started.dispatches), "from before").dispatches
    claimed = fake.take(dispatch)
    fake.fail(claimed)
    with pytest.raises(InvalidArguments, match="too many positional arguments"):
        dead_letters.edit(fake.ledger, str(claimed.job_id), args=["mine"])
    dead_letters.edit(fake.ledger, str(claimed.job_id), kwargs={"limit": 5})
    dead_letters.replay(fake.ledger, str(claimed.job_id))
    run_due(fake)
    assert fake.result(claimed.workflow_id) == {"from before": 5}


def test_the_item_of_an_each_is_an_argument(fake: FakeWorker) -> None:
    started = fake.start(numbers.s(2) | each(echo.s("more")))
    dispatches = fake.succeed(fake.take(*started.dispatches), [1, 2]).dispatches
    claimed = fake.take(dispatches[0])
    fake.fail(claimed)
    assert dead_letters.get(fake.ledger, str(claimed.job_id)).args == [1, "more"]
    dead_letters.edit(fake.ledger, str(claimed.job_id), args=[10, "more"])
    dead_letters.replay(fake.ledger, str(claimed.job_id))
    run_due(fake)
    fake.run(*dispatches[1:])
    assert [item["args"] for item in fake.result(claimed.workflow_id)] == [[10, "more"], [2, "more"]]


def test_a_step_that_is_not_known_here_is_not_edited_unchecked(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    forget_step(fake, claimed.job_id)
    with pytest.raises(ConfigurationError, match=r"step 'gone\.step' is not known here.*-A MODULE.* Nothing was"):
        dead_letters.edit(fake.ledger, str(claimed.job_id), args=["two"])


def test_a_plain_task_takes_whatever_is_json(fake: FakeWorker) -> None:
    claimed = die(fake, plain.s(1))
    dead_letters.edit(fake.ledger, str(claimed.job_id), args=[{"any": ["thing"]}])
    assert json.loads(arguments(fake, claimed)) == [[{"any": ["thing"]}], {}]
    with pytest.raises(InvalidArguments, match=r"the arguments of step 'tests\.plain': .*64 bits"):
        dead_letters.edit(fake.ledger, str(claimed.job_id), args=[2**70])


@step
def publish(report: Report, *, copies: int = 1) -> str:
    return f"{report.colour} {report.made.year} {copies}"


def test_arguments_are_read_as_json_is(fake: FakeWorker) -> None:
    """A strict model takes in JSON what stands for a datetime or an enum."""
    report = Report(colour=Colour.RED, made=datetime(2026, 1, 1, tzinfo=UTC))
    claimed = die(fake, publish.s(report))
    dead_letters.edit(fake.ledger, str(claimed.job_id), args=[{"colour": "red", "made": "2027-01-01T00:00:00Z"}])
    dead_letters.replay(fake.ledger, str(claimed.job_id))
    run_due(fake)
    assert fake.result(claimed.workflow_id) == "red 2027 1"
