"""The memory of a client and a worker: idle, after much work, and for each further item of it."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import processes
from benchmarks.crew import Crew
from benchmarks.work import Figures


def measure(crew: Crew) -> Figures:
    """Do the work at its size, and at twice its size."""
    size = crew.contender.size
    worker = [crew.worker, *processes.children(crew.worker)]
    idle = _together(worker)
    peaks, client_peaks = [], []
    for items in (size, 2 * size):
        for pid in (*worker, crew.client.pid):
            processes.forget_peak(pid)
        crew.client.do(crew.contender.work, items)
        peaks.append(max(map(processes.peak_bytes, worker)))
        client_peaks.append(processes.peak_bytes(crew.client.pid))
        if items == size:
            after, client_after = _together(worker), _together([crew.client.pid])
    return {
        "worker, idle": idle,
        "worker, after": after,
        "client, after": client_after,
        "worker's largest process, for an item": (peaks[1] - peaks[0]) / size,
        "client, for an item": (client_peaks[1] - client_peaks[0]) / size,
    }


def _together(pids: Iterable[int]) -> int:
    return sum(map(processes.proportional_bytes, pids))
