"""The CPU time that each kind of process uses while the work is done."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import make_url

from benchmarks import processes
from benchmarks.place import Place

Spent = dict[str, float]
"""Seconds of CPU, by kind of process."""


class Meter:
    """Shows the CPU of one contender's processes; those on other machines are not seen.

    Args:
        place: where the contender is; of PostgreSQL, the processes that serve its ledger count.
        client: the client's process.
        worker: the worker's main process; those that it has started are its pool.
        broker: the broker's process, where it runs here for this contender alone.
    """

    def __init__(self, place: Place, *, client: int, worker: int, broker: int | None) -> None:
        self._place = place
        self._own = {"client": [client], "worker": [worker], "broker": [broker] if broker else []}
        self._worker = worker
        self._before = self._read()

    def spent(self) -> Spent:
        """Return what was spent since the meter was made."""
        found: Spent = defaultdict(float)
        for (kind, pid), seconds in self._read().items():
            found[kind] += seconds - self._before.get((kind, pid), 0.0)
        return dict(found)

    def _read(self) -> dict[tuple[str, int], float]:
        kinds = self._own | {"pool": processes.children(self._worker), "ledger": self._servers()}
        return {(kind, pid): processes.cpu_seconds(pid) for kind, pids in kinds.items() for pid in pids}

    def _servers(self) -> list[int]:
        url = make_url(self._place.ledger) if self._place.ledger else None
        if url is None or url.get_backend_name() == "sqlite":
            return []
        return processes.with_text(f" {url.database} ")  # PostgreSQL has it in the title of each of its processes
