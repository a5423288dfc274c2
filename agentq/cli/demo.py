"""``agentq demo``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import click

from agentq.exceptions import ConfigurationError

NEEDED = ("sumy", "yake")


@click.command()
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--kill", is_flag=True, help="Kill a worker while it works.")
@click.option("--flush", is_flag=True, help="Empty the broker while it is in use.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.md"),
    show_default=True,
    help="The report's file.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=4, show_default=True, help="Steps at once.")
def demo(folder: Path | None, kill: bool, flush: bool, output: Path, concurrency: int) -> None:
    """Summarise the documents of FOLDER and watch it survive failures.

    Without FOLDER, the descriptions of the installed packages are the documents.

    \b
    Example:
      agentq demo --kill --flush
      agentq demo ~/notes --output notes.md
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"the demo needs {' and '.join(missing)}; run: pip install 'celery-agentq[demo]'")
    from agentq.demo.runner import main

    sys.exit(main(folder, kill=kill, flush=flush, output=output, concurrency=concurrency))
