"""``agentq init``: a starter to write one's own steps into."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from agentq.exceptions import ConfigurationError

_SUFFIX = ".txt"
"""Of the starter's files in here, so that nothing takes them for modules of agentq."""


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a commented starter into FOLDER (default: this one): the app, steps, a first workflow, configuration.

    Files that are there already are never overwritten.

    \b
    Example:
      agentq init
      agentq init research
    """
    starter = {
        file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8")
        for file in sorted(files("agentq.cli").joinpath("starter").iterdir(), key=lambda file: file.name)
    }
    there = [name for name in starter if Path(folder, name).exists()]
    if there:
        raise ConfigurationError(
            f"already in {folder.resolve()}: {', '.join(there)}; nothing was written. Name another folder: agentq "
            "init FOLDER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in starter.items():
        with Path(folder, name).open("x", encoding="utf-8") as file:
            file.write(text)
    click.echo(_summary(folder, list(starter)))


def _summary(folder: Path, names: list[str]) -> str:
    enter = [] if folder == Path() else [f"cd {folder}"]
    steps = [
        *enter,
        "agentq up -A app        # a worker, in the foreground, with a broker and a ledger of its own",
        "python start.py         # in another terminal: starts the workflow and prints its result",
        "agentq workflows        # the runs so far; agentq --help lists the rest",
    ]
    return "\n".join([f"wrote {', '.join(names)}", "", "what next:", *(f"  {step}" for step in steps)])
