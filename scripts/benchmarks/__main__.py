"""``scripts/bench``: the same workloads on agentq and on bare Celery, in turns."""

from __future__ import annotations

import json
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import driver, report, services
from benchmarks.workloads import WORKLOADS

SIDES = ("bare", "durable")


@dataclass(frozen=True)
class Bench:
    """The services of a run, and how its workers are started."""

    folder: Path
    environments: dict[str, dict[str, str]]
    drivers: dict[str, ProcessPoolExecutor]
    pool: str
    concurrency: int

    def round(self, number: int, key: str) -> report.Round:
        """Run a workload on both sides; who is first changes with the round. Only one worker runs at a time."""
        order = SIDES if number % 2 else SIDES[::-1]
        return {side: self._measure(side, key) for side in order}

    def _measure(self, side: str, key: str) -> dict[str, float]:
        environment = self.environments[side]
        with services.worker(side, self.folder, environment, pool=self.pool, concurrency=self.concurrency):
            return self.drivers[side].submit(driver.measure, side, key).result()


@click.command(epilog="Workloads: " + "; ".join(f"({key}) {one.title}" for key, one in WORKLOADS.items()) + ".")
@click.option("--ledger", default="sqlite", show_default=True, help="sqlite, or the URL of a PostgreSQL server.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="How often to run each.")
@click.option("--only", default=",".join(WORKLOADS), show_default=True, help="The workloads to run.")
@click.option("--pool", default="prefork", show_default=True, help="The workers' pool, the same on both sides.")
@click.option("--concurrency", default=2, show_default=True, help="Processes or threads of each pool.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures to this file.")
def main(ledger: str, rounds: int, only: str, pool: str, concurrency: int, json_file: Path | None) -> None:
    """Measure agentq beside bare Celery.

    Both get the same work on the same Redis, in turns, one worker at a time. Bare Celery acknowledges late, does
    not prefetch, and keeps results in Redis. The results are checked. A ratio over 1 says that agentq is faster.
    """
    keys = [key.strip() for key in only.split(",")]
    unknown = sorted(set(keys) - WORKLOADS.keys())
    if unknown:
        raise click.BadParameter(f"there is no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    about = report.about(ledger=services.durability(ledger), pool=pool, concurrency=concurrency, rounds=rounds)
    click.echo("\n".join(f"{name}: {value}" for name, value in about.items()) + f"\n\n{report.HEADING}")
    figures = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that services are ended
    with ExitStack() as stack:
        bench = _set_up(stack, ledger, pool, concurrency)
        for key in keys:
            found = [bench.round(number, key) for number in range(rounds)]
            figures[key] = {"title": WORKLOADS[key].title, "seconds": report.summary(found), "rounds": found}
            click.echo("\n".join(report.lines(key, found)))
    if json_file:
        json_file.write_text(json.dumps({"about": about, "workloads": figures}, indent=2) + "\n")


def _set_up(stack: ExitStack, ledger: str, pool: str, concurrency: int) -> Bench:
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-")))
    socket = stack.enter_context(services.redis(folder))
    url = stack.enter_context(services.ledger(ledger, folder))
    environments = {
        side: {"BENCH_BROKER": f"redis+socket://{socket}?virtual_host={number}", "BENCH_LEDGER": url}
        for number, side in enumerate(SIDES)
    }
    drivers = {side: stack.enter_context(driver.process(environments[side])) for side in SIDES}
    return Bench(folder, environments, drivers, pool, concurrency)


if __name__ == "__main__":
    main()
