"""``scripts/soak``: chaos for some minutes, then the verdict."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import click
import pytest

from agentq.exceptions import LedgerError
from agentq.ledger.db.session import Ledger
from soaking import report, services
from soaking.chaos import Chaos
from soaking.crew import Crew
from soaking.journal import Story
from soaking.limits import Watch, change_one, cool_one
from soaking.steps import FOLDER
from soaking.verdict import is_over, verdict_on
from tests.support import Broker, Worker
from tests.support.services import kill_group

LEDGERS, BROKERS = ("postgresql", "sqlite"), ("redis", "rabbitmq")
LEASE = 3.0
SETTINGS = {"lease": LEASE, "redispatch_after": 1, "ledger_timeout": 2, "cancel_grace": 2}
CLIENT_TIMEOUT = 1.0
"""Shorter than most outages, so that starts raise."""
CONCURRENCY = 2
REPORT_EVERY = 10.0
DRAIN_WITHIN = 120.0
_THREADS = 32


@dataclass(frozen=True)
class Soak:
    """The services of a run, and its files."""

    folder: Path
    broker: Broker
    ledger_url: str
    seed: int

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    def hire(self) -> Worker:
        """Return a worker that is not running yet."""
        arguments = ("-I", "soaking.steps")
        return Worker(
            self.broker, self.ledger_url, concurrency=CONCURRENCY, settings=SETTINGS, arguments=arguments
        )

    @contextmanager
    def client(self, rate: float, backlog: int) -> Iterator[subprocess.Popen[bytes]]:
        """The client's process, which stops starting workflows when its standard input is closed."""
        options = {
            "broker": self.broker.url,
            "queue": self.broker.queue,
            "ledger": self.ledger_url,
            "ledger_timeout": CLIENT_TIMEOUT,
            "journal": str(self.journal),
            "seed": self.seed,
            "rate": rate,
            "backlog": backlog,
        }
        with (self.folder / "client.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "soaking.client", json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            kill_group(process)
            process.communicate()

    def report(self, began: float, chaos: Chaos) -> None:
        """Print a line of progress."""
        effects = self.effects.read_bytes().count(b"\n") if self.effects.exists() else 0
        seconds = time.monotonic() - began
        click.echo(report.progress(seconds, Story.read(self.journal), chaos.strikes, effects))


@click.command()
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(min=0), help="How long.")
@click.option("--ledger", type=click.Choice(LEDGERS), default=LEDGERS[0], show_default=True, help="A private one.")
@click.option("--broker", type=click.Choice(BROKERS), default=BROKERS[0], show_default=True, help="A private one.")
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1), help="Each with two processes.")
@click.option("--rate", default=6.0, show_default=True, type=click.FloatRange(min=0.1), help="Starts a second.")
@click.option("--backlog", default=40, show_default=True, type=click.IntRange(1), help="Most workflows at once.")
@click.option("--seed", type=int, help="Of all choices. Default: a new one, which is printed.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the verdict to this file.")
@click.option("--keep", is_flag=True, help="Keep logs and journal also where all is well.")
@click.pass_context
def main(context: click.Context, /, seed: int | None, json_file: Path | None, keep: bool, **options: Any) -> None:
    """Start workflows all the time, while everything around them fails.

    A worker is killed, frozen or stopped every 3 s; a limit is changed every 5 s and cools every
    20 s; the broker is emptied or restarted every 30 s; the ledger's database every 60 s. Then all must end by
    itself. The exit code is 1 where a workflow is lost, doubled, stuck or wrong, where more jobs than slots had a
    limit, more started in any time than its rate allows, or one was admitted while it cooled, or where the audit
    finds anything; then logs and journal are kept.
    """
    seed = random.randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}, " + ", ".join(f"{name} {value}" for name, value in options.items()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that all processes are ended
    folder = Path(mkdtemp(prefix="soak-"))
    is_good = False
    try:
        is_good = _run(folder, seed, json_file, **options)
    except pytest.skip.Exception as missing:
        raise click.ClickException(str(missing)) from None
    finally:
        if is_good and not keep:
            shutil.rmtree(folder)
        else:
            click.echo(f"logs and journal are kept in {folder}", err=True)
    context.exit(0 if is_good else 1)


def _run(
    folder: Path,
    seed: int,
    json_file: Path | None,
    *,
    minutes: float,
    ledger: str,
    broker: str,
    workers: int,
    rate: float,
    backlog: int,
) -> bool:
    os.environ[FOLDER] = str(folder)
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(_THREADS))
        private_broker, broker_ways = stack.enter_context(getattr(services, broker)())
        url, ledger_ways = stack.enter_context(getattr(services, ledger)(folder))
        soak = Soak(folder, private_broker, url, seed)
        crew = stack.enter_context(Crew(workers, soak.hire, folder))
        client = stack.enter_context(soak.client(rate, backlog))
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # from here on, all are being ended
        _await_start(soak, client)
        watch = stack.enter_context(Watch(url))
        of_limits = {"change_limit": partial(change_one, url), "cool_limit": partial(cool_one, url)}
        with Chaos(crew, broker_ways, ledger_ways, executor, **of_limits, lease=LEASE, seed=seed) as chaos:
            _cause(soak, chaos, client, minutes * 60)
        strikes = chaos.strikes + Counter({"slow stops": crew.slow_stops})
        drained = _drain(soak, client)
        watched = Ledger(url, timeout=60)
        stack.callback(watched.close)
        story = Story.read(soak.journal)
        verdict = verdict_on(watched, story, soak.effects, crew.fallen)
        verdict.wrong += crew.deserters + watch.wrong
        verdict.looks_at_limits = watch.looks
    click.echo("\n" + "\n".join(report.lines(verdict, story, strikes, drained)))
    if json_file:
        about = {"seed": seed, "minutes": minutes, "ledger": ledger, "broker": broker, "workers": workers}
        figures = about | asdict(verdict) | {"drained": drained, "strikes": strikes}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    return verdict.is_good


def _await_start(soak: Soak, client: subprocess.Popen[bytes]) -> None:
    while not Story.read(soak.journal).started:
        _require_alive(soak, client)
        time.sleep(0.2)


def _cause(soak: Soak, chaos: Chaos, client: subprocess.Popen[bytes], seconds: float) -> None:
    began = reported = time.monotonic()
    while time.monotonic() < began + seconds:
        chaos.strike_due()
        _require_alive(soak, client)
        if time.monotonic() >= reported + REPORT_EVERY:
            soak.report(began, chaos)
            reported += REPORT_EVERY
        time.sleep(0.05)


def _drain(soak: Soak, client: subprocess.Popen[bytes]) -> float | None:
    """Let everything end; returns how many seconds that took, or None where it took too long."""
    assert client.stdin is not None
    client.stdin.close()
    began = time.monotonic()
    ledger = Ledger(soak.ledger_url, timeout=10)
    try:
        while time.monotonic() < began + DRAIN_WITHIN:
            with suppress(LedgerError):
                if client.poll() is not None and ledger.read(is_over):
                    return time.monotonic() - began
            time.sleep(0.2)
    finally:
        ledger.close()
    return None


def _require_alive(soak: Soak, client: subprocess.Popen[bytes]) -> None:
    if client.poll() is not None:
        log = (soak.folder / "client.log").read_text()
        raise click.ClickException(f"the client ended with code {client.returncode}:\n{log[-4000:]}")


if __name__ == "__main__":
    main()
