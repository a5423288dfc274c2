"""Gates: a step in another process stops at one until the test opens it, so an order is forced, not hoped for."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.waiting import eventually


class Gates:
    """The test's side of the gates in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def await_reached(self, name: str, times: int = 1, *, seconds: float = 20) -> None:
        """Return when *times* attempts have come to the gate."""
        eventually(lambda: self.reached(name) >= times, seconds, what=f"gate {name!r} reached {times} times")

    def reached(self, name: str) -> int:
        """Return how many attempts have come to the gate so far."""
        return len(self.pids(name))

    def pids(self, name: str) -> list[int]:
        """Return the processes that have come to the gate, in their order."""
        path = self.folder / f"{name}.reached"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []

    def open(self, name: str) -> None:
        """Let everybody through, now and later."""
        (self.folder / f"{name}.go").touch()


def note(folder: str, name: str) -> int:
    """Note one more arrival at *name*; return how many there are now."""
    path = Path(folder, f"{name}.reached")
    with path.open("a") as file:  # one short line: appended as a whole
        file.write(f"{os.getpid()}\n")
    return len(path.read_text().splitlines())


def pass_gate(folder: str, name: str, seconds: float = 60) -> None:
    """Come to a gate and wait until it is open; raises TimeoutError when no process opens it."""
    note(folder, name)
    deadline = time.monotonic() + seconds
    while not Path(folder, f"{name}.go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened the gate {name!r}")
        time.sleep(0.01)
