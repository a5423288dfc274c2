"""An error is one line that says the next step, with exit code 1; a closed pipe is quiet."""

import json
import os
import pty
import subprocess

import pytest

from tests.cli.conftest import CliLedger
from tests.cli.program import BIN, Inside, Program
from tests.support.steps import add


def test_without_a_ledger_it_says_how_to_name_one(program: Program) -> None:
    said = program.error("workflows", "list")
    assert all(way in said for way in ("--ledger", "-A MODULE", "AGENTQ_LEDGER"))
    assert os.listdir(program.folder) == []


def test_the_embedded_ledger_of_the_folder_is_found(program: Program) -> None:
    (program.folder / ".agentq").mkdir()
    program.text("--ledger", "sqlite:///.agentq/ledger.db", "db", "upgrade")
    assert program.json("workflows", "list") == []


def test_options_of_the_group_may_stand_after_the_command(cli_ledger: CliLedger, inside: Inside) -> None:
    url = cli_ledger.program.env["AGENTQ_LEDGER"]
    before = inside.json("--ledger", url, "workflows", "list")
    assert before == inside.json("workflows", "list", "--ledger", url) != []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://host/database", "the ledger cannot live in 'mysql'"),
        ("nonsense", "the ledger URL cannot be parsed"),
        ("sqlite:////nowhere/ledger.db", "there is no ledger at /nowhere/ledger.db"),
    ],
)
def test_a_ledger_that_cannot_be_used(inside: Inside, url: str, expected: str) -> None:
    assert expected in inside.error("--ledger", url, "workflows", "list")


@pytest.mark.parametrize(
    ("typed", "meant"), [("workflow", "workflows"), ("job", "jobs"), ("dead-letter", "dead-letters")]
)
def test_an_unknown_command_gets_the_nearest_name(inside: Inside, typed: str, meant: str) -> None:
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


def test_an_id_that_is_none_says_how_one_is_written(cli_ledger: CliLedger) -> None:
    assert "list them with: agentq workflows list, or name one by its key: key:KEY" in cli_ledger.program.error(
        "workflows", "show", "fan-1"
    )
    assert "'019' is too short; give 4 characters of the id or more" in cli_ledger.program.error(
        "jobs", "show", "019"
    )
    assert "key" not in cli_ledger.program.error("jobs", "show", "fan-1")


@pytest.mark.parametrize("command", [("workflows", "list", "--tenant"), ("workflows", "show"), ("jobs", "show")])
def test_an_undecodable_argument_is_an_error_without_a_traceback(
    cli_ledger: CliLedger, command: tuple[str, ...]
) -> None:
    ended = subprocess.run(
        [BIN / "agentq", *command, b"\xff\xfe"],
        env=cli_ledger.program.environment(),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert ended.stderr.endswith("is no text in UTF-8.\n")
    assert "Traceback" not in ended.stderr


NARROW = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.long
def test_words_and_answers_hold_in_any_locale(cli_ledger: CliLedger) -> None:
    named = cli_ledger.agentq.start(add.s(1, 2).set(queue="nobody"), tenant="テナント", key="ключ ✓")
    environment = cli_ledger.program.environment()
    for given in (NARROW, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}):
        for command in (
            ("workflows", "show", "key:ключ ✓"),
            ("workflows", "list", "--tenant", "テナント", "--json"),
        ):
            ended = subprocess.run(
                [BIN / "agentq", *(word.encode() for word in command)],
                env=environment | given,
                capture_output=True,
            )
            assert (ended.returncode, ended.stderr) == (0, b"")
            assert named.id.encode() in ended.stdout
        (shown,) = json.loads(ended.stdout)
        assert (shown["tenant"], shown["key"]) == ("テナント", "ключ ✓"), "no sign of JSON is lost"
    named.cancel()


def test_an_unwritable_file_is_one_line(cli_ledger: CliLedger, inside: Inside) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [BIN / "agentq", "workflows", "list"],
            env=cli_ledger.program.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (1, "error: [Errno 28] No space left on device\n")
    assert "/proc/nowhere" in inside.error("init", "/proc/nowhere/deep")


def test_a_broken_pipe_is_quiet(cli_ledger: CliLedger) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [BIN / "agentq", "workflows", "list"],
        env=cli_ledger.program.environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert ended.stderr == b""


def test_colours_are_for_terminals_and_respect_no_color(cli_ledger: CliLedger) -> None:
    assert "\x1b" not in cli_ledger.program.text("workflows", "list")
    assert b"\x1b[32msucceeded" in _on_a_terminal(cli_ledger.program.environment())
    assert b"\x1b" not in _on_a_terminal({**cli_ledger.program.environment(), "NO_COLOR": "1"})


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
