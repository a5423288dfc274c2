"""``agentq worker``: Celery's own worker, with a safe shutdown."""

from __future__ import annotations

from collections.abc import Sequence

import click

from agentq.cli.target import Target, given_target


# No short option of its own: click would find the -A of ``-lWARNING``.
@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@given_target
def worker(target: Target, options: Sequence[str]) -> None:
    """Run Celery's worker with a safe shutdown. All options are Celery's: see celery worker --help.

    The one difference to celery -A proj worker: after SIGTERM, running steps have worker_soft_shutdown_timeout
    seconds (10) to end. Then they are given back, and other workers take them at once. With Celery's worker,
    SIGTERM waits without limit, unless REMAP_SIGTERM=SIGQUIT is set. A REMAP_SIGTERM that is set already is left
    as it is.

    \b
    Example:
      agentq -A proj worker --concurrency 4 --queues llm,io --loglevel INFO
    """
    from agentq.cli import launch  # it imports Celery

    rest = _without_app(target, options)
    launch.launch(target, launch.usable(target, "agentq worker"), rest)


def _without_app(target: Target, options: Sequence[str]) -> list[str]:
    """Take ``-A``, which Celery wants before its command, out of the options."""
    rest = []
    left = iter(options)
    for option in left:
        name, equals, value = option.partition("=")
        if name in ("-A", "--app"):
            target.app = value if equals else next(left, None)
        else:
            rest.append(option)
    return rest
