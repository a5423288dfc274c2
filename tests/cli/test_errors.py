"""What goes wrong is one line that teaches, with exit code 1; what is piped away is quiet."""

import os
import pty
import subprocess

import pytest

from tests.cli.conftest import Story
from tests.cli.program import BIN, Inside, Program


def test_without_a_ledger_it_says_how_to_name_one(program: Program) -> None:
    said = program.error("workflows", "list")
    assert all(way in said for way in ("--ledger", "-A MODULE", "AGENTQ_LEDGER"))
    assert os.listdir(program.folder) == []


def test_the_embedded_ledger_of_the_folder_is_found(program: Program) -> None:
    (program.folder / ".agentq").mkdir()
    program.text("--ledger", "sqlite:///.agentq/ledger.db", "db", "upgrade")
    assert program.json("workflows", "list") == []


def test_options_of_the_group_may_stand_after_the_command(story: Story, inside: Inside) -> None:
    url = story.program.env["AGENTQ_LEDGER"]
    before = inside.json("--ledger", url, "workflows", "list")
    assert before == inside.json("workflows", "list", "--ledger", url) != []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://host/database", "the ledger cannot live in 'mysql'"),
        ("nonsense", "the ledger URL cannot be parsed"),
        ("sqlite:////nowhere/ledger.db", "there is no ledger at /nowhere/ledger.db"),
    ],
)
def test_a_ledger_that_cannot_be_used(inside: Inside, url: str, told: str) -> None:
    assert told in inside.error("--ledger", url, "workflows", "list")


@pytest.mark.parametrize(
    ("typed", "meant"), [("workflow", "workflows"), ("job", "jobs"), ("dead-letter", "dead-letters")]
)
def test_a_command_that_is_not_there_is_told_with_the_nearest(inside: Inside, typed: str, meant: str) -> None:
    ended = inside.run(typed)
    assert ended.returncode == 2
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in ended.stderr


def test_an_app_that_cannot_be_loaded(inside: Inside) -> None:
    assert "the Celery app 'no_such' cannot be loaded" in inside.error("-A", "no_such", "workflows", "list")


def test_the_traceback_is_there_for_who_asks(inside: Inside) -> None:
    inside.env["AGENTQ_DEBUG"] = "1"
    asked = inside.run("workflows", "list")
    assert asked.returncode == 1
    assert "Traceback" in asked.stderr
    assert asked.stderr.splitlines()[-1].startswith("error: ")


def test_a_broken_pipe_is_quiet(story: Story) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [BIN / "agentq", "workflows", "list"],
        env=story.program.environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert ended.stderr == b""


def test_colours_are_for_terminals_and_respect_no_color(story: Story) -> None:
    assert "\x1b" not in story.program.text("workflows", "list")
    assert b"\x1b[32msucceeded" in _on_a_terminal(story.program.environment())
    assert b"\x1b" not in _on_a_terminal({**story.program.environment(), "NO_COLOR": "1"})


def _on_a_terminal(environment: dict[str, str]) -> bytes:
    ours, theirs = pty.openpty()
    process = subprocess.Popen([BIN / "agentq", "workflows", "list"], env=environment, stdout=theirs)
    os.close(theirs)
    printed = b""
    try:
        while some := os.read(ours, 4096):
            printed += some
    except OSError:  # Linux's way to say that the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return printed
