"""Commands that decide about many: by the lists' filters, with a count and a question first."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from agentq.cli.main import agentq
from agentq.ledger.db.session import Ledger
from agentq.states import JobStatus, WorkflowStatus
from tests.cli.program import OURS, Inside
from tests.operations.letters import ask, die, refuse_message
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes on the ledger that the program looks at."""
    return FakeWorker(ledger)


@pytest.fixture
def program(ledger_url: str, inside: Inside) -> Inside:
    """The program's commands in this process, on a ledger of the test's own."""
    inside.env["AGENTQ_LEDGER"] = ledger_url
    return inside


def answer(program: Inside, text: str, *arguments: str) -> Result:
    hidden = {name: None for name in os.environ if name.startswith(OURS)}
    return CliRunner(env={**hidden, **program.env}).invoke(agentq, arguments, input=text)


def test_a_cancel_of_all_says_how_many_and_asks(program: Inside, fake: FakeWorker) -> None:
    started = [fake.start(add.s(n, 2)).workflow_id for n in range(3)]
    command = ("workflows", "cancel", "--all", "--tenant", "acme", "--limit", "2")
    for text in ("n\n", ""):
        asked = answer(program, text, *command)
        assert asked.exit_code == 1
        assert "cancel 2 of 3 workflows? [y/N]" in asked.stderr
        assert asked.stdout == ""
    assert {fake.workflow(id_).status for id_ in started} == {WorkflowStatus.RUNNING}
    agreed = answer(program, "y\n", *command)
    assert agreed.exit_code == 0
    assert agreed.stdout.splitlines() == [
        "cancelled 2 of 3 workflows",
        *(f"  {id_}  {fake.workflow(id_).name}" for id_ in started[:2]),
    ]
    assert fake.workflow(started[2]).status == WorkflowStatus.RUNNING


def test_a_dry_run_lists_the_rows_and_changes_nothing(program: Inside, fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | echo.s())
    command = ("jobs", "cancel", "--all", "--step", add.name, "--dry-run")
    assert program.text(*command).startswith("would cancel 1 job\n")
    (planned,) = program.json(*command)["done"]
    assert (planned["step"], planned["status"]) == (add.name, "queued")
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.RUNNING


def test_a_dry_run_and_the_question_show_what_would_be_refused(program: Inside, fake: FakeWorker) -> None:
    fits, other = die(fake, add.s(1, 2)), die(fake, ask.s("one"))
    command = ("dead-letters", "resolve", "--all", "--result", "3")
    lines = program.text(*command, "--dry-run").splitlines()
    assert lines[0] == "would resolve 1 of 2 dead letters"
    assert lines[1].endswith(add.name)
    assert lines[2] == "would refuse 1"
    assert "does not fit its annotation" in lines[3]
    assert "resolve 1 of 2 dead letters (1 would be refused)? [y/N]" in answer(program, "n\n", *command).stderr
    assert [fake.job(claimed.job_id).status for claimed in (fits, other)] == [JobStatus.FAILED] * 2
    assert program.text(*command, "--yes").splitlines()[::2] == ["resolved 1 of 2 dead letters", "refused 1"]


def test_json_of_many_is_one_form_for_every_command(program: Inside, fake: FakeWorker) -> None:
    fake.start(add.s(1, 2))
    for canvas in (add.s(1, 2), ask.s("one"), ask.s("two")):
        die(fake, canvas)
    refuse_message(fake)
    commands: tuple[tuple[str, ...], ...] = (
        ("workflows", "cancel"),
        ("jobs", "cancel"),
        ("dead-letters", "edit", "--kwargs", '{"limit": 3}', "--step", ask.name),
        ("dead-letters", "resolve", "--result", "3", "--step", add.name),
        ("dead-letters", "replay"),
        ("dead-letters", "cancel", "--kind", "message"),
    )
    answers: list[Any] = [program.json(*command, "--all", "--yes") for command in commands]
    assert [{"done", "refused", "fit"} <= one.keys() for one in answers] == [True] * 6
    assert [(len(one["done"]), one["fit"]) for one in answers] == [(1, 1), (0, 0), (2, 2), (1, 1), (2, 2), (1, 1)]
    assert "snapshot" not in answers[2]["done"][0], "the lines of a list, not all about each"


def test_an_empty_selection_is_reported_without_a_question(program: Inside, fake: FakeWorker) -> None:
    assert program.text("jobs", "cancel", "--all") == "cancelled 0 jobs\n"
    assert program.text("dead-letters", "cancel", "--all", "--yes") == "cancelled 0 dead letters\n"


def test_an_id_and_a_filter_or_neither_is_a_mistake(program: Inside, fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    for noun, verb in (("jobs", "cancel"), ("workflows", "cancel"), ("dead-letters", "replay")):
        neither = program.run(noun, verb)
        assert (neither.returncode, "Give one ID, or --all" in neither.stderr) == (2, True)
        both = program.run(noun, verb, str(claimed.job_id), "--older-than", "1h")
        assert (both.returncode, "--older-than is for --all" in both.stderr) == (2, True)
        for option in ("--dry-run", "--limit=5"):
            done = program.run(noun, verb, str(claimed.job_id), option)
            assert (done.returncode, option.partition("=")[0] in done.stderr, "is for --all" in done.stderr) == (
                2,
                True,
                True,
            )
    assert fake.job(claimed.job_id).status == JobStatus.FAILED


def options_of(noun: str, verb: str) -> set[str]:
    context = click.Context(agentq)
    group = agentq.get_command(context, noun)
    assert isinstance(group, click.Group)
    return {str(option.name) for option in group.commands[verb].params}


@pytest.mark.parametrize(
    ("noun", "verb", "cannot"),
    [
        ("workflows", "cancel", {"status"}),  # of what runs alone
        ("jobs", "cancel", set()),
        *(("dead-letters", verb, {"status", "kind"}) for verb in ("replay", "edit", "resolve")),
        ("dead-letters", "cancel", {"status"}),
    ],
)
def test_a_decision_takes_the_filters_of_the_list(noun: str, verb: str, cannot: set[str]) -> None:
    filters = options_of(noun, "list") - {"limit", "oldest_first", "as_json"} - cannot
    assert len(filters) > 3
    assert filters <= options_of(noun, verb)


def test_a_final_status_cannot_be_selected(program: Inside) -> None:
    ended = program.run("jobs", "cancel", "--all", "--status", "succeeded")
    assert ended.returncode == 2
    assert "'succeeded' is not one of 'blocked', 'queued', 'running', 'scheduled', 'waiting'" in ended.stderr


def test_without_a_terminal_the_answer_is_no(program: Inside, fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2))
    command = [sys.executable, "-m", "agentq", "workflows", "cancel", "--all", "--json"]
    ended = subprocess.run(
        command, env=program.environment(), cwd=program.folder, stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.RUNNING
