"""Every command is documented, and the help is there at once."""

import time
from collections.abc import Iterator

import click
import pytest

from agentq.cli.main import ENTRIES, agentq
from tests.cli.program import Inside, Program


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


def test_the_table_of_commands_tells_them_all(inside: Inside) -> None:
    printed = inside.text("--help")
    for name, entry in ENTRIES.items():
        assert f"  {name}" in printed
        assert entry.summary in " ".join(printed.split())


def test_the_help_is_there_at_once(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    program.text("--help")
    with capsys.disabled():
        print(f"\nagentq --help took {(time.perf_counter() - began) * 1000:.0f} ms")


def test_reading_the_ledger_does_without_celery(program: Program) -> None:
    script = "import sys, agentq.cli.workflows, agentq.cli.jobs, agentq.cli.db; print('celery' in sys.modules)"
    assert program.text("-c", script, program="python") == "False\n"
