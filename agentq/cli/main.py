"""``agentq``, and ``celery -A proj agentq``: the group of all commands, and how errors are printed."""

from __future__ import annotations

import os
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
    "check": Entry("agentq.cli.check", "check", "Tell what is missing or misconfigured, and how to mend it."),
    "workflows": Entry("agentq.cli.workflows", "workflows", "List, show, watch and cancel workflows."),
    "jobs": Entry("agentq.cli.jobs", "jobs", "List, show and cancel jobs."),
    "dead-letters": Entry(
        "agentq.cli.dead_letters", "dead_letters", "List what failed for good, and decide about it."
    ),
    "queues": Entry("agentq.cli.queues", "queues", "Tell what waits and runs on each queue."),
    "workers": Entry("agentq.cli.workers", "workers", "List and show workers."),
    "prune": Entry("agentq.cli.prune", "prune", "Delete what ended long ago."),
    "db": Entry("agentq.cli.db", "db", "Create or upgrade the ledger's schema."),
    "demo": Entry("agentq.cli.demo", "demo", "Summarise a folder of documents and watch it survive failures."),
}


class _Failure(click.ClickException):
    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {' '.join(self.message.split())}", err=True)


class _Commands(LazyGroup):
    """All commands. An error of agentq's ends them with one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except AgentqError as error:
            if ctx.params["show_traceback"]:
                traceback.print_exc()
            raise _Failure(str(error)) from error


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
