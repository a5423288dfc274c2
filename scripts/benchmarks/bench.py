"""One workload with all that it needs, ready for its rounds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import services
from benchmarks.client import Client
from benchmarks.contender import BARE, WAITING, Contender
from benchmarks.cpu import Spent
from benchmarks.crew import Crew
from benchmarks.place import Place
from benchmarks.work import Figures
from benchmarks.workloads import Workload


@dataclass(frozen=True)
class Options:
    """The options that all contenders share."""

    ledger: str
    """``sqlite``, or the URL of a PostgreSQL server."""
    pool: str
    waiting_pool: str
    concurrency: int
    events: bool
    cpu: bool


@dataclass(frozen=True)
class Round:
    """The figures of one round, contender by contender."""

    figures: list[Figures]
    cpu: list[Spent]


@dataclass(frozen=True)
class Team:
    """A contender at its place, with its client; the worker comes for each measurement."""

    contender: Contender
    place: Place
    client: Client
    broker: services.Broker
    options: Options
    log: Path

    @contextmanager
    def at_work(self) -> Iterator[Crew]:
        """The client and a fresh worker that answers."""
        contender = self.contender
        pool = self.options.waiting_pool if contender.pool == WAITING else contender.pool or self.options.pool
        concurrency = contender.concurrency or self.options.concurrency
        with services.worker(contender.side, self.place, self.log, pool=pool, concurrency=concurrency) as worker:
            self.client.await_worker()
            yield Crew(contender, self.place, self.client, worker, self.broker.pid)

    def measure(self) -> tuple[Figures, Spent]:
        """Warm a worker up, and measure."""
        with self.at_work() as crew:
            self.client.do(self.contender.work, self.contender.warm_up)
            if not self.options.cpu:
                return self.contender.measure(crew), {}
            meter = crew.meter()
            figures = self.contender.measure(crew)
            return figures, meter.spent()


class Bench:
    """The contenders of a workload; use it in a ``with``: then each is at its place."""

    def __init__(self, workload: Workload, options: Options, broker: services.Broker, folder: Path) -> None:
        self._workload = workload
        self._options = options
        self._broker = broker
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        with self._stack:
            self._teams = [self._assemble(contender) for contender in self._workload.contenders]
            for team in self._teams:
                if team.contender.prepare:
                    with team.at_work() as crew:
                        team.contender.prepare(crew)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def round(self, number: int) -> Round:
        """Measure each contender; who is first changes with the number. Only one worker runs at a time."""
        turns: Sequence[int] = range(len(self._teams))
        found = {turn: self._teams[turn].measure() for turn in (turns if number % 2 else reversed(turns))}
        figures, cpu = zip(*(found[turn] for turn in turns), strict=True)
        return Round(list(figures), list(cpu) if self._options.cpu else [])

    def _assemble(self, contender: Contender) -> Team:
        ledger = None
        if contender.side != BARE:
            ledger = self._stack.enter_context(contender.open_ledger(self._options.ledger, self._folder))
        queue = f"bench-{uuid.uuid4().hex[:12]}"
        place = Place(self._broker.url, self._broker.results, ledger, queue, self._options.events)
        self._stack.enter_context(services.queues(place))
        client = self._stack.enter_context(Client(contender.side, place))
        return Team(contender, place, client, self._broker, self._options, self._folder / f"{queue}.log")
