"""The same work in several processes that begin at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("fork")


def at_once(count: int, work: Callable[..., object], *args: Any, seconds: float = 120) -> None:
    """Run ``work(*args)`` in *count* forked processes; raises AssertionError unless each ends well in time."""
    barrier = _CONTEXT.Barrier(count)
    processes = [_CONTEXT.Process(target=_begin_together, args=(barrier, work, args)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(seconds)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * count, f"exit codes {codes}"


def _begin_together(barrier: Any, work: Callable[..., object], args: tuple[Any, ...]) -> None:
    barrier.wait(30)
    work(*args)


def is_running(pid: int) -> bool:
    """Say whether there is a process of this id that has not ended; one that waits for its parent has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2]
    except (FileNotFoundError, ProcessLookupError):  # the latter where it ends while it is read
        return False
    return not state.startswith(("Z", "X"))
