"""``scripts/quota``: a thousand jobs of many tenants at a provider with a small quota."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest

from agentq import AgentQ
from agentq.operations import workflows
from agentq.states import WorkflowStatus
from tests.runtime.quota_steps import QUOTA, call_provider
from tests.runtime.stack import migrated_ledger
from tests.support import Worker, client, redis_server
from tests.support.quota import SETTLED, QuotaServer, quota_server

_FLOOD = 6
"""The jobs of the first tenant, of those that each other one has."""
_LOOK_EVERY = 2.0
_PATIENCE = 60.0
"""Seconds beyond those that the rate needs."""


@click.command()
@click.option("--jobs", default=1000, show_default=True, type=click.IntRange(1), help="One-step workflows.")
@click.option("--tenants", default=20, show_default=True, type=click.IntRange(1), help="How many share them.")
@click.option("--ledger", default="postgresql", show_default=True, type=click.Choice(["postgresql", "sqlite"]))
@click.option("--pool", default="threads", show_default=True, type=click.Choice(["threads", "prefork"]))
@click.option("--concurrency", default=12, show_default=True, type=click.IntRange(1), help="Of the one worker.")
def main(jobs: int, tenants: int, ledger: str, pool: str, concurrency: int) -> None:
    """Let jobs of many tenants call a provider that allows 10 calls at once and 600 a minute.

    It answers 429 above. One tenant comes first, with six times as many jobs as each other one. The exit code is
    1 where a call is refused, less than 95 % of the rate is used, a tenant gets less than 0.8 or more than 1.25
    of its share while all of them wait, or a job is not done in time.
    """
    others = jobs // (tenants - 1 + _FLOOD)
    if others * tenants < 2 * SETTLED:
        raise click.BadParameter(f"{jobs} jobs are too few for {tenants} tenants; give at least {50 * tenants}")
    shares = {f"tenant-{number:02}": others for number in range(1, tenants)}
    shares = {"tenant-00": jobs - sum(shares.values()), **shares}
    try:
        with (
            TemporaryDirectory(prefix="quota-") as folder,
            quota_server(QUOTA) as server,
            redis_server() as broker,
            migrated_ledger(ledger, Path(folder)) as url,
            Worker(
                *(broker, url), pool=pool, concurrency=concurrency, arguments=("-I", "tests.runtime.quota_steps")
            ),
            client(broker, url) as agentq,
        ):
            for tenant, count in shares.items():
                agentq.start_many([call_provider.s(server.url)] * count, tenant=tenant)
            left = _drain(agentq, server, jobs)
    except pytest.skip.Exception as missing:
        raise click.ClickException(str(missing)) from None
    sys.exit(0 if _report(server, shares, left) else 1)


def _drain(agentq: AgentQ, server: QuotaServer, jobs: int) -> int:
    """Wait until all workflows have ended; return how many did not in time, or not as they must."""
    is_running = workflows.WorkflowFilter(status=WorkflowStatus.RUNNING)
    has_succeeded = workflows.WorkflowFilter(status=WorkflowStatus.SUCCEEDED)
    began = time.monotonic()
    most = jobs * QUOTA.per / QUOTA.limit + _PATIENCE
    while (seconds := time.monotonic() - began) < most and workflows.count(agentq.ledger, is_running):
        click.echo(f"{seconds:5.0f} s  {len(server.served)} calls, {len(server.refused)} refused", err=True)
        time.sleep(_LOOK_EVERY)
    return jobs - workflows.count(agentq.ledger, has_succeeded)


def _report(server: QuotaServer, jobs: dict[str, int], left: int) -> bool:
    tenants, rounds = list(jobs), min(jobs.values()) - 1  # until the first one of them has no more
    took = server.served[-1][0] - server.served[0][0]
    of_fair = server.shares(tenants, rounds).values()
    click.echo(f"jobs           {sum(jobs.values())} of {len(tenants)} tenants, {jobs[tenants[0]]} of the first")
    click.echo(f"calls          {len(server.served)} in {took:.1f} s, {len(server.refused)} refused with a 429")
    click.echo(f"at once        {server.most_at_once} of {QUOTA.at_once}")
    click.echo(f"rate           {server.used:.1%} of {QUOTA.limit} in {QUOTA.per:g} s")
    click.echo(f"shares         {min(of_fair):.2f} to {max(of_fair):.2f} of a fair one, in {rounds} rounds")
    broken = server.broken_promises(tenants, rounds)
    broken += [f"{left} jobs are not done"] if left else []
    for promise in broken:
        click.echo(f"broken         {promise}")
    return not broken


if __name__ == "__main__":
    main()
