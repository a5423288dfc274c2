"""``agentq up``: one worker, with what it needs, in the foreground."""

from __future__ import annotations

import os
import sys

import click

from agentq.cli.target import Target, pass_target
from agentq.exceptions import ConfigurationError


@click.command()
@click.option("--concurrency", type=click.IntRange(min=1), help="Steps at once; default: the number of CPUs.")
@click.option("--queues", help="Comma-separated; default: the app's default queue and those of all its steps.")
@pass_target
def up(target: Target, concurrency: int | None, queues: str | None) -> None:
    """Run a worker in the foreground, with a private broker and ledger where none is configured.

    It is Celery's own worker. SIGTERM gives running steps the setting worker_soft_shutdown_timeout to end, then
    gives them back, so that other workers take them at once.

    \b
    Example:
      agentq up -A proj --concurrency 4
    """
    if target.ledger_url is not None:
        raise ConfigurationError("a worker's ledger is the one of its app; set AGENTQ_LEDGER instead of --ledger")
    agentq = target.agentq
    if agentq is None or not isinstance(target.app, str):
        raise ConfigurationError("name the Celery app whose steps are to run: agentq up -A MODULE")
    # A worker refuses these as well, but among the lines of its log.
    from agentq.cli import application
    from agentq.runtime import configuration

    configuration.require_usable(agentq.app)
    agentq.ensure_ledger()
    arguments = ["-A", target.app, "worker", "--loglevel", "INFO"]
    arguments += ["--queues", queues or ",".join(application.queues(agentq))]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    agentq.ledger.close()
    # In place of this process, so that signals reach the worker itself; Celery reads the variable on import.
    environment = os.environ | {"REMAP_SIGTERM": "SIGQUIT"}
    os.execve(sys.executable, [sys.executable, "-m", "celery", *arguments], environment)
