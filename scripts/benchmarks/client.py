"""The process that starts the work and waits for it: one for each contender, so that none runs in another's."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from importlib import import_module
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Self

from benchmarks.place import Place, here
from benchmarks.work import Figures, Work


class Client:
    """A client's process; use it in a ``with``."""

    def __init__(self, side: str, place: Place) -> None:
        self._side = side
        self._executor = ProcessPoolExecutor(1, get_context("spawn"), _enter, (place.environment,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    @cached_property
    def pid(self) -> int:
        """The process's id."""
        return self._executor.submit(os.getpid).result()

    def await_worker(self) -> None:
        """Return when the worker of this place answers."""
        self._executor.submit(_await_worker, self._side).result()

    def do(self, work: Work, size: int) -> Figures:
        """Do the work in the client's process."""
        return self._executor.submit(_do, self._side, work, size).result()


def _enter(environment: dict[str, str]) -> None:
    os.environ.update(environment)


def _do(side: str, work: Work, size: int) -> Figures:
    return work(_module(side), size)


def _await_worker(side: str) -> None:
    deadline = time.monotonic() + 30
    while not _module(side).app.control.ping(timeout=0.2, destination=[here().node]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker of {side!r} does not answer")


def _module(side: str) -> Any:
    return import_module(f"benchmarks.{side}")
