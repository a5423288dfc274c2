"""Linux's figures of running processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """Return the processes that one has started itself."""
    return [child for child in _all() if _parent(child) == pid]


def with_text(text: str) -> list[int]:
    """Return the processes that have a text in their title or arguments."""
    return [pid for pid in _all() if text in _read(pid, "cmdline")]


def cpu_seconds(pid: int) -> float:
    """Return how long the process's threads have run; those that have ended are not in it."""
    return (
        sum(int((path.read_text() or "0").split()[0]) for path in (_PROC / str(pid) / "task").glob("*/schedstat"))
        / 1e9
    )


def proportional_bytes(pid: int) -> int:
    """Return the process's memory, of which what it shares is divided by those who share it."""
    return _kilobytes(pid, "smaps_rollup", "Pss:") * 1024


def peak_bytes(pid: int) -> int:
    """Return the most memory that the process had since ``forget_peak``."""
    return _kilobytes(pid, "status", "VmHWM:") * 1024


def forget_peak(pid: int) -> None:
    """Let the peak begin anew."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def _all() -> Iterator[int]:
    return (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())


def _parent(pid: int) -> int | None:
    fields = _read(pid, "stat").rpartition(") ")[2].split()
    return int(fields[1]) if fields else None


def _kilobytes(pid: int, name: str, field: str) -> int:
    return next(int(line.split()[1]) for line in _read(pid, name).splitlines() if line.startswith(field))


def _read(pid: int, name: str) -> str:
    """Return what a file of the process says; nothing where the process is gone."""
    try:
        return (_PROC / str(pid) / name).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
