"""``agentq check``: everything that can be known about a set-up, one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from agentq.cli import options
from agentq.cli.display import GAP, coloured, echo_json, one_line
from agentq.cli.target import Target, pass_target
from agentq.exceptions import AgentqError
from agentq.operations import health
from agentq.operations.health import Finding, Level


@click.command()
@options.as_json
@pass_target
def check(target: Target, as_json: bool) -> None:
    """Tell what is missing or misconfigured, and how to mend it; exit code 1 if there is an error.

    With -A also the broker, Celery's settings, and the queues that workers consume.

    \b
    Example:
      agentq check -A proj
    """
    found = []
    for finding in _examine(target):
        found.append(finding)
        if not as_json:
            click.echo(_line(finding))
    if as_json:
        echo_json(found)
    if any(finding.level is Level.ERROR for finding in found):
        sys.exit(1)


def _examine(target: Target) -> Iterator[Finding]:
    try:
        agentq = target.agentq
    except AgentqError as failure:
        yield health.error("app", str(failure))
        if target.ledger_url is None:
            return
        agentq = None
    try:
        ledger = target.existing_ledger()
    except AgentqError as failure:
        yield health.error("ledger", str(failure))
        ledger = None
    if ledger is not None:
        yield from health.examine(ledger)
    if agentq is not None:
        from agentq.cli import application_health  # it imports Celery

        yield from application_health.examine(agentq, ledger)


def _line(finding: Finding) -> str:
    text = f"{finding.what}; {finding.mend}" if finding.mend else finding.what
    return GAP.join([coloured(finding.level, 7), f"{finding.subject:<8}", one_line(text, 1_000)])
