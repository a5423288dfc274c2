"""The crew: workers, some of whom are always being killed, frozen or stopped, and replaced."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from subprocess import TimeoutExpired
from types import TracebackType
from typing import Self

from tests.support import Worker

_HIRES = 3
_LOG_TAIL = 2_000
_STOP_WITHIN = 20.0
_START_AT_ONCE = 2
"""Workers that start at the same time: on a busy machine, more would all take too long."""


class Crew:
    """*size* workers; use it in a ``with``: all of them, and all who replaced them, are gone after.

    Args:
        size: how many.
        hire: makes a worker, which is not running yet.
        logs: the folder where the logs of those who are gone are kept.
    """

    def __init__(self, size: int, hire: Callable[[], Worker], logs: Path) -> None:
        self._hire = hire
        self._logs = logs
        self._lock = threading.Lock()
        self._staff: list[Worker | None] = [None] * size
        self._busy = set(range(size))
        self._is_over = False
        self._starting = threading.Semaphore(_START_AT_ONCE)
        self.fallen: dict[str, list[datetime]] = defaultdict(list)
        """The times at which workers were killed, frozen or stopped, by their names."""
        self.deserters: list[str] = []
        """Workers that ended though no strike hit them."""
        self.slow_stops = 0
        """The number of workers that did not end in time after SIGTERM, and were killed."""

    def __enter__(self) -> Self:
        try:
            for place in range(len(self._staff)):
                self.replace(place)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def take_ready(self, choose: Callable[[list[int]], int]) -> int | None:
        """Choose a place whose worker runs, for one of the strikes below; None where no other would be left."""
        with self._lock:
            ready = [place for place in range(len(self._staff)) if place not in self._busy]
            if len(ready) < min(2, len(self._staff)):  # a slow machine would only start workers
                return None
            place = choose(ready)
            self._busy.add(place)
            return place

    def kill(self, place: int) -> None:
        """Kill the worker with all its processes, and replace it."""
        worker = self._fell(place)
        worker.kill()
        self.replace(place)

    def stop(self, place: int) -> None:
        """Ask the worker to end, wait for that, and replace it."""
        worker = self._fell(place)
        try:
            worker.terminate(_STOP_WITHIN)
        except TimeoutExpired:
            self.slow_stops += 1
        self.replace(place)

    def freeze(self, place: int, seconds: float) -> None:
        """Stop the worker with all its processes where they are; let it go on after *seconds*."""
        worker = self._fell(place)
        worker.freeze()
        time.sleep(seconds)
        worker.thaw()
        with self._lock:
            self._busy.discard(place)

    def take_deserted(self) -> list[int]:
        """Return the places of workers that ended though no strike hit them, for ``replace``."""
        with self._lock:
            places = [
                place
                for place, worker in enumerate(self._staff)
                if place not in self._busy and worker is not None and not worker.is_alive
            ]
            self._busy.update(places)
        for worker in filter(None, (self._staff[place] for place in places)):
            self.deserters.append(f"worker {worker.name} ended by itself: {worker.log()[-_LOG_TAIL:]}")
        return places

    def replace(self, place: int) -> None:
        """End the worker, if it is not gone yet, and start another one in its place."""
        self._end(place)
        for left in reversed(range(_HIRES)):
            with self._starting:
                if self._is_over:
                    return
                worker = self._hire()
                try:
                    worker.__enter__()
                except AssertionError:  # not ready in time: the machine is busy, or the broker is away
                    self._keep_log(worker)
                    if not left:
                        raise
                else:
                    self._settle(place, worker)
                    return

    def end(self) -> None:
        """End all workers and start no more."""
        with self._lock:
            self._is_over = True
        for place in range(len(self._staff)):
            self._end(place)

    def _settle(self, place: int, worker: Worker) -> None:
        with self._lock:
            if not self._is_over:
                self._staff[place] = worker
                self._busy.discard(place)
                return
        worker.__exit__(None, None, None)

    def _fell(self, place: int) -> Worker:
        worker = self._staff[place]
        assert worker is not None
        self.fallen[worker.name].append(datetime.now(UTC))
        return worker

    def _end(self, place: int) -> None:
        worker = self._staff[place]
        if worker is not None:
            worker.__exit__(None, None, None)
            self._keep_log(worker)
            self._staff[place] = None

    def _keep_log(self, worker: Worker) -> None:
        (self._logs / f"{worker.name}.log").write_text(worker.log())
