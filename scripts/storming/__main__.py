"""``scripts/storm``: a provider's outage, and what comes down on it afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
from sqlalchemy import select

from agentq import AgentQ
from agentq.ledger.models import JobRow
from agentq.operations import workflows
from agentq.policies import DEFAULT, Ladder
from agentq.states import JobStatus, WorkflowStatus
from storming.provider import Provider, running
from storming.steps import ask
from tests.runtime.stack import migrated_ledger
from tests.support import Worker, client, redis_server

_LONGEST_DRAIN = 600.0


@click.command()
@click.option("--jobs", default=1000, show_default=True, type=click.IntRange(1), help="One-step workflows.")
@click.option("--down", default=60.0, show_default=True, type=click.FloatRange(min=0), help="Seconds of outage.")
@click.option(
    "--status", default=503, show_default=True, type=click.Choice([503, 429]), help="What it answers then."
)
@click.option(
    "--retry-after", type=click.IntRange(0), help="Its Retry-After, in seconds. Default: it does not say."
)
@click.option("--pool", default="threads", show_default=True, type=click.Choice(["threads", "prefork"]))
@click.option("--concurrency", default=16, show_default=True, type=click.IntRange(1), help="Of the one worker.")
@click.pass_context
def main(
    context: click.Context,
    jobs: int,
    down: float,
    status: int,
    retry_after: int | None,
    pool: str,
    concurrency: int,
) -> None:
    """Let a provider that all jobs need be down, and count the requests of each second after it is back.

    The jobs have the default policy. The exit code is 1 where one of them is a dead letter, or not done in time.
    """
    with (
        TemporaryDirectory(prefix="storm-") as folder,
        running(status, retry_after, down) as provider,
        redis_server() as broker,
        migrated_ledger("sqlite", Path(folder)) as url,
        client(broker, url) as agentq,
    ):
        for _ in range(jobs):
            agentq.start(ask.s(provider.url))
        arguments = ("-I", "storming.steps")
        with Worker(broker, url, pool=pool, concurrency=concurrency, arguments=arguments):
            is_over = _drain(agentq, provider)
        is_good = _report(agentq, provider, jobs) and is_over
    context.exit(0 if is_good else 1)


def _drain(agentq: AgentQ, provider: Provider) -> bool:
    """Wait until all workflows have ended; say whether they did in time."""
    unfinished = workflows.WorkflowFilter(status=WorkflowStatus.RUNNING)
    began = time.monotonic()
    while left := workflows.count(agentq.ledger, unfinished):
        seconds = time.monotonic() - began
        if seconds > provider.down + _LONGEST_DRAIN:
            return False
        click.echo(f"{seconds:5.0f} s  {len(provider.asked)} requests, {left} jobs left", err=True)
        time.sleep(5)
    return True


def _report(agentq: AgentQ, provider: Provider, jobs: int) -> bool:
    query = select(
        JobRow.status, JobRow.attempt, JobRow.deferrals.label("deferrals"), JobRow.started_at, JobRow.due_at
    )
    rows = agentq.ledger.read(lambda connection: connection.execute(query).all())
    dead = [row.status for row in rows].count(JobStatus.FAILED)
    late = sorted((row.started_at - row.due_at).total_seconds() for row in rows if row.due_at and row.attempt > 1)
    each_second = Counter(map(int, provider.after))
    rate = jobs / _spread(provider)
    click.echo(f"outage         {provider.down:g} s of {provider.status}, {_summary(provider)}")
    click.echo(f"requests       {len(provider.asked)}, {len(provider.after)} of them after it was back")
    if each_second:
        counts = [each_second[second] for second in range(min(each_second), max(each_second) + 1)]
        click.echo(f"a second       {max(counts)} at most, {median(counts):g} in the median, over {len(counts)} s")
        click.echo(f"the policy's   {rate:.0f} a second: {jobs} jobs over {_spread(provider):g} s of jitter")
        click.echo(f"all done       {max(provider.after):.1f} s after it was back")
    click.echo(f"attempts       {_counted(row.attempt for row in rows)}")
    click.echo(f"deferrals      {_counted(row.deferrals for row in rows)}")
    if late:
        click.echo(
            f"started        {median(late):.2f} s after they were due in the median, {late[-1]:.2f} s at most"
        )
    click.echo(f"dead letters   {dead}")
    return dead == 0


def _spread(provider: Provider) -> float:
    """Seconds over which the default policy spreads the first pause that can end after the outage."""
    if provider.retry_after is not None:
        return max(1.0, provider.retry_after * DEFAULT.spread)
    ladder = Ladder()
    longest = accumulate(pause * (1 + ladder.spread) for pause in ladder.pauses)
    last = next((n for n, total in enumerate(longest) if total >= provider.down), -1)
    return ladder.pauses[last] * ladder.spread


def _summary(provider: Provider) -> str:
    return "no Retry-After" if provider.retry_after is None else f"Retry-After: {provider.retry_after}"


def _counted(numbers: Iterable[int]) -> str:
    found = Counter(numbers)
    return ", ".join(f"{count} jobs {number}" for number, count in sorted(found.items()))


if __name__ == "__main__":
    main()
