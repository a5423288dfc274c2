"""``agentq up``: one worker, with what it needs, in the foreground."""

from __future__ import annotations

import click

from agentq.cli.target import Target, pass_target

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@click.command()
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=1), help="Steps at once; default: the number of CPUs."
)
@click.option(
    "-Q", "--queues", help="Comma-separated; default: the app's default queue and those of all its steps."
)
@click.option(
    "-l",
    "--loglevel",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
    help="The least that is logged.",
)
@pass_target
def up(target: Target, concurrency: int | None, queues: str | None, loglevel: str) -> None:
    """Run a worker in the foreground, with a private broker and ledger where none is configured.

    It is Celery's own worker, on all queues of the app's steps. After SIGTERM, running steps have
    worker_soft_shutdown_timeout seconds to end. Then they are given back, and other workers take them at once.

    \b
    Example:
      agentq up -A proj --concurrency 4
    """
    from agentq.cli import launch  # it imports Celery

    agentq = launch.usable(target, "agentq up")
    agentq.ensure_ledger()
    options = ["--loglevel", loglevel, "--queues", queues or ",".join(agentq.catalogue.queues())]
    if concurrency is not None:
        options += ["--concurrency", str(concurrency)]
    launch.launch(target, agentq, options)
