"""The client and the worker of a contender while both run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.client import Client
from benchmarks.contender import Contender
from benchmarks.cpu import Meter
from benchmarks.place import Place


@dataclass(frozen=True)
class Crew:
    """The contenders of a run."""

    contender: Contender
    place: Place
    client: Client
    worker: int
    """The worker's main process."""
    broker: int | None
    """The broker's process, where it is the run's own."""

    def meter(self) -> Meter:
        """Begin to measure CPU."""
        return Meter(self.place, client=self.client.pid, worker=self.worker, broker=self.broker)
