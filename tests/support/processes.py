"""Processes: the same work in several that begin at the same time, and Linux's figures of one."""

from __future__ import annotations

import multiprocessing
import os
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


def tcp_ports(pid: int) -> set[int]:
    """Return the ports from which a process is connected over IPv4."""
    open_files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(address.split(":")[1], 16) for _, address, *rest in sockets if f"socket:[{rest[7]}]" in open_files}
