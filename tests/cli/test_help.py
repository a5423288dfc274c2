"""Every command is documented, and the help is there at once."""

import re
import resource
from collections.abc import Callable, Iterator

import click
import pytest

from agentq.cli.main import ENTRIES, agentq
from tests.cli.program import ROOT, Inside, Program


def commands(group: click.Group, path: str = "agentq") -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


ALL = dict(commands(agentq))


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_a_text_with_an_example_and_all_options_are_explained(path: str) -> None:
    command = ALL[path]
    assert command.help is not None
    assert "Example:" in command.help
    examples = [line.strip() for line in command.help.split("Example:")[1].splitlines() if line.strip()]
    last_word = path.split()[-1]
    assert all("agentq" in example for example in examples)
    assert any(last_word in example for example in examples)
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_table_of_commands_has_them_all(inside: Inside) -> None:
    printed = inside.text("--help")
    for name, entry in ENTRIES.items():
        assert f"  {name}" in printed
        assert entry.summary in " ".join(printed.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["init", "--help"], ["up", "--help"], ["worker", "--help"]], ids=str
)
def test_the_help_is_there_at_once(installed: Program, arguments: list[str]) -> None:
    """By the processor's time, which others on the machine do not change."""
    seconds = min(_processor_time(lambda: installed.text(*arguments)) for _ in range(3))
    assert seconds < 0.3


def _processor_time(run: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def completed(installed: Program, *words: str) -> list[str]:
    """The shell's offers for the last of the words."""
    typed = {"COMP_WORDS": " ".join(["agentq", *words]), "COMP_CWORD": str(len(words))}
    asking = Program(installed.folder, {**installed.env, **typed, "_AGENTQ_COMPLETE": "bash_complete"})
    return [line.removeprefix("plain,") for line in asking.text().splitlines()]


@pytest.mark.long
def test_the_shell_completes_commands_options_and_values(installed: Program) -> None:
    assert completed(installed, "wor") == ["worker", "workflows", "workers"]
    assert completed(installed, "dead-letters", "re") == ["replay", "resolve"]
    assert completed(installed, "jobs", "list", "--sta") == ["--status"]
    assert completed(installed, "workers", "list", "--status", "l") == ["lost"]
    script = Program(installed.folder, {**installed.env, "_AGENTQ_COMPLETE": "bash_source"}).text()
    assert "complete -o nosort -F _agentq_completion agentq" in script


def test_completing_a_command_imports_none(installed: Program) -> None:
    seconds = min(_processor_time(lambda: completed(installed, "w")) for _ in range(3))
    assert seconds < 0.3


@pytest.mark.parametrize("path", [path for path, command in ALL.items() if not isinstance(command, click.Group)])
def test_every_command_is_documented(path: str) -> None:
    pages = "\n".join((ROOT / "docs" / page).read_text() for page in ("cli.md", "dead-letters.md", "schedules.md"))
    assert re.search(rf"^agentq (?:-A \w+ )?{path.removeprefix('agentq ')}\b", pages, re.MULTILINE), path


def test_reading_the_ledger_does_without_celery(installed: Program) -> None:
    script = "import sys, agentq.cli.workflows, agentq.cli.jobs, agentq.cli.db; print('celery' in sys.modules)"
    assert installed.text("-c", script, program="python") == "False\n"
