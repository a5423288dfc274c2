"""``agentq check``: everything that can be known about a set-up, one line each."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from agentq.cli import options
from agentq.cli.display import GAP, coloured, echo_json, one_line
from agentq.cli.target import Target, app_option, given_target
from agentq.exceptions import AgentqError
from agentq.operations import audit, health
from agentq.operations.audit import Audit
from agentq.operations.health import Finding, Level

_NOT_NAMED = ""


@click.command()
@app_option
@click.option(
    "--ledger",
    "audited",
    is_flag=False,
    flag_value=_NOT_NAMED,
    metavar="[URL]",
    help="Audit the ledger instead: list all in it that must never be there.",
)
@options.as_json
@given_target
def check(target: Target, audited: str | None, as_json: bool) -> None:
    """Report each missing or wrong setting with its fix; exit code 1 if there is an error.

    With -A also the broker, Celery's settings, and the queues that workers consume.

    With --ledger it reads the whole ledger instead, in one snapshot, and prints each violation of agentq's
    promises on a line: an end that changed, a join that fired early or never, a workflow that nothing will ever
    move. Exit code 1 if there is one. To name the ledger of the set-up to be checked, put --ledger before the
    command.

    \b
    Example:
      agentq check -A proj
      agentq --ledger postgresql://host/database check
      agentq check --ledger
    """
    if audited is None:
        is_good = _check(target, as_json)
    else:
        target.ledger_url = audited or target.ledger_url
        is_good = _audit(target, as_json)
    if not is_good:
        sys.exit(1)


def _check(target: Target, as_json: bool) -> bool:
    found = []
    for finding in _examine(target):
        found.append(finding)
        if not as_json:
            click.echo(_line(finding))
    if as_json:
        echo_json(found)
    return not any(finding.level is Level.ERROR for finding in found)


def _audit(target: Target, as_json: bool) -> bool:
    report = audit.run(target.current_ledger())
    if as_json:
        echo_json(report)
    else:
        click.echo("\n".join(_lines(report)))
    return report.is_sound


def _lines(report: Audit) -> Iterator[str]:
    for one in report.listed:
        found = f" ({one_line(one.found)})" if one.found else ""
        next_step = f"; {one.next_step}" if one.next_step else ""
        yield f"{one.noun} {one.id}: {one.text}{found}{next_step}"
    for rest in report.unlisted:
        yield f"and {rest.more} more: {rest.text}"
    verdict = "sound" if report.is_sound else _counted(report.violations, "violation")
    yield f"{_counted(report.workflows, 'workflow')}, {_counted(report.jobs, 'job')}: {verdict}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


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
        from agentq.runtime import app_health  # it imports Celery

        yield from app_health.examine(agentq, ledger)


def _line(finding: Finding) -> str:
    text = f"{finding.what}; {finding.fix}" if finding.fix else finding.what
    return GAP.join([coloured(finding.level, 7), f"{finding.subject:<8}", one_line(text, 1_000)])
