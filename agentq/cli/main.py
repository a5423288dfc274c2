"""``agentq``, and ``celery -A proj agentq``: the group of all commands, and how errors are printed."""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from typing import IO, Any

import click

from agentq.cli.lazy import Entry, LazyGroup
from agentq.cli.target import target_options
from agentq.exceptions import AgentqError

ENTRIES = {
    "init": Entry("agentq.cli.init", "init", "Write a commented starter: app, steps, configuration."),
    "up": Entry("agentq.cli.up", "up", "Run a worker in the foreground."),
    "worker": Entry("agentq.cli.worker", "worker", "Run Celery's worker with a safe shutdown."),
    "check": Entry("agentq.cli.check", "check", "Report each missing or wrong setting, with its fix."),
    "workflows": Entry("agentq.cli.workflows", "workflows", "List, show, watch and cancel workflows."),
    "jobs": Entry("agentq.cli.jobs", "jobs", "List, show, move and cancel jobs."),
    "why": Entry("agentq.cli.why", "why", "Say why a workflow or a job is not done."),
    "dead-letters": Entry(
        "agentq.cli.dead_letters", "dead_letters", "List what failed for good, and decide about it."
    ),
    "queues": Entry("agentq.cli.queues", "queues", "Show the jobs that wait and run on each queue."),
    "limits": Entry("agentq.cli.limits", "limits", "List, show, change, pause and resume limits."),
    "tenants": Entry("agentq.cli.tenants", "tenants", "List and set the weights of tenants."),
    "schedules": Entry("agentq.cli.schedules", "schedules", "List, show, pause and trigger schedules."),
    "workers": Entry("agentq.cli.workers", "workers", "List and show workers."),
    "prune": Entry("agentq.cli.prune", "prune", "Delete what ended long ago."),
    "db": Entry("agentq.cli.db", "db", "Create or upgrade the ledger's schema."),
    "demo": Entry("agentq.cli.demo", "demo", "Summarise a folder of documents and watch it survive failures."),
}


class _Failure(click.ClickException):
    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {' '.join(self.message.split())}", err=True)


class _Commands(LazyGroup):
    """All commands. An error of agentq's, or of a file, ends them with one line and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_text(word) for word in args])

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal need not have every sign
        try:
            return super().invoke(ctx)
        except (AgentqError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # click ends quietly
                raise
            if ctx.params["show_traceback"]:
                traceback.print_exc()
            raise _Failure(str(error)) from error


def _text(word: str) -> str:
    """Return a word of the command line as text, also where Python took its bytes for another encoding."""
    try:
        return word if word.isascii() else os.fsencode(word).decode()
    except UnicodeError:
        raise click.UsageError(f"{word!r} is no text in UTF-8.") from None


@click.group(cls=_Commands, entries=ENTRIES)
@target_options
@click.option(
    "--traceback", "show_traceback", is_flag=True, envvar="AGENTQ_DEBUG", help="Show where an error comes from."
)
@click.version_option(package_name="celery-agentq", prog_name="agentq")
def agentq(show_traceback: bool) -> None:
    """Durable agent workflows on the Celery you already run.

    Exit codes: 0 it is done, 1 it is not, and the one line on stderr says why, 2 the command cannot be understood.
    To complete commands with the tab key, in bash: eval "$(_AGENTQ_COMPLETE=bash_source agentq)"

    \b
    Example:
      agentq workflows list --status failed
      celery -A proj agentq workflows list --status failed
    """


def main() -> None:
    """Run the ``agentq`` program."""
    agentq(prog_name="agentq")
