"""``scripts/bench``: the same workloads on agentq and on bare Celery, in turns."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks import ledgers, report, services
from benchmarks.bench import Bench, Options
from benchmarks.workloads import WORKLOADS


def _chosen(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    unknown = sorted(set(keys) - WORKLOADS.keys())
    if unknown:
        raise click.BadParameter(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    return keys


@click.command(epilog="Workloads: " + "; ".join(f"({key}) {one.title}" for key, one in WORKLOADS.items()) + ".")
@click.option("--ledger", default="sqlite", show_default=True, help="sqlite, or the URL of a PostgreSQL server.")
@click.option("--broker", help="URL of the broker of both sides.  [default: a Redis of the run's own]")
@click.option("--pool", default="prefork", show_default=True, help="The workers' pool, the same on both sides.")
@click.option(
    "--waiting-pool",
    default="threads",
    show_default=True,
    help="agentq's pool in (h), such as asyncio; Celery: threads.",
)
@click.option("--concurrency", default=2, show_default=True, help="Of each pool, where a workload says no other.")
@click.option(
    "--rounds", default=5, show_default=True, type=click.IntRange(1), help="Of each; slow ones have less."
)
@click.option("--only", default=",".join(WORKLOADS), show_default=True, callback=_chosen, help="The workloads.")
@click.option("--events/--no-events", help="Task events from both sides' workers.  [default: none]")
@click.option("--cpu", is_flag=True, help="Also show the CPU of a job by kind of process.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(broker: str | None, rounds: int, only: list[str], json_file: Path | None, **options: Any) -> None:
    """Measure agentq beside bare Celery; all takes about three quarters of an hour.

    The contenders of a workload take turns, each with a fresh worker that is warmed up with the same work, and
    with a client's process and a ledger of its own; only one worker runs at a time. Bare Celery acknowledges late,
    does not prefetch, and keeps results in Redis. Its workers send no task events by default, agentq's do: here
    both send none, or both do. The results are checked.
    """
    chosen = Options(**options)
    about = report.about(
        **asdict(chosen) | {"ledger": ledgers.durability(chosen.ledger)},
        broker=services.broker_name(broker),
        rounds=rounds,
    )
    click.echo("\n".join(f"{name}: {value}" for name, value in about.items()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that services are ended
    with TemporaryDirectory(prefix="bench-") as folder, services.broker(broker, Path(folder)) as used:
        figures = _measure(only, rounds, chosen, used, Path(folder))
    if json_file:
        json_file.write_text(json.dumps({"about": about, "workloads": figures}, indent=2) + "\n")


def _measure(
    keys: list[str], rounds: int, options: Options, broker: services.Broker, folder: Path
) -> dict[str, dict[str, Any]]:
    """Run the workloads and print their figures; returns them with all rounds."""
    figures = {}
    heading = None
    for key in keys:
        workload = WORKLOADS[key]
        if workload.needs_postgresql and options.ledger == ledgers.SQLITE:
            click.echo(f"\n{key}  {workload.title}: needs PostgreSQL, left out")
            continue
        if heading != (heading := report.heading(workload)):
            click.echo(f"\n{heading}")
        with Bench(workload, options, broker, folder) as bench:
            found = [bench.round(number) for number in range(min(rounds, workload.most_rounds or rounds))]
        click.echo("\n".join(report.lines(key, workload, found)))
        figures[key] = {
            "title": workload.title,
            "ratio": workload.ratio,
            "figures": report.summary(workload, found),
            "rounds": [asdict(one) for one in found],
        }
    return figures


if __name__ == "__main__":
    main()
