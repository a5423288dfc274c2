"""Print the jobs of a workflow as a tree that has the shape of its canvas, with equal branches folded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import takewhile
from typing import NamedTuple

import click

from agentq.cli.display import columns, padded
from agentq.states import RUNNABLE, JobKind, JobStatus

SHOWN_BRANCHES = 3
_COLOURS: dict[str, str] = {JobStatus.SUCCEEDED: "green", JobStatus.FAILED: "red", JobStatus.CANCELLED: "red"}


@dataclass(frozen=True)
class JobRecord:
    """One job as the admin shows it; the graph as the ledger has it."""

    id: Hashable
    name: str
    status: str
    kind: str = JobKind.STEP
    after: Hashable | None = None
    """The one job that it waits for."""
    join: Hashable | None = None
    """The join or ``each`` that it counts into, with its ``position`` there."""
    position: int = 0
    attempts: int = 1
    """The number of attempts."""
    attempts_summary: str = "1 of 1"
    """The attempts that count, of those that it may have."""
    seconds: float | None = None
    worker: str = ""
    label: str = ""
    """The text that distinguishes it from other jobs of the same step, such as its argument."""
    note: str = ""
    """Its next condition, its error, or the person who gave its result."""


Branch = Sequence[JobRecord]
Line = tuple[str, JobRecord | None]


def job_tree(title: str, jobs: Sequence[JobRecord], *, color: bool = False) -> str:
    """Draw the jobs of one workflow.

    Args:
        title: the first line.
        jobs: all jobs, in the order in which they were made.
        color: whether statuses are coloured with terminal escapes.

    Returns:
        Lines with name, status, attempts, duration, worker and note. Of many branches with the same steps the
        first few are shown, those first that did not just succeed, and the rest is summed up.
    """
    lines = list(_Tree(jobs).lines())
    widths = _Widths(
        max((columns(text) for text, job in lines if job), default=0),
        max((len(job.attempts_summary) for job in jobs), default=0),
        max((columns(job.worker) for job in jobs), default=0),
    )
    return "\n".join([title, *(_columns(text, job, widths, color) for text, job in lines)])


class _Widths(NamedTuple):
    text: int
    attempts: int
    worker: int


class _Tree:
    def __init__(self, jobs: Sequence[JobRecord]) -> None:
        self._jobs = {job.id: job for job in jobs}
        self._members: dict[Hashable, list[JobRecord]] = defaultdict(list)
        for job in sorted(jobs, key=lambda job: job.position):
            if job.join is not None:
                self._members[job.join].append(job)
        self._paths: dict[Hashable, list[JobRecord]] = {}
        needs = {job.id: [need.id for need in self._needs(job)] for job in jobs}
        for id_ in TopologicalSorter(needs).static_order():
            shared = _common_start([self._paths[need] for need in needs[id_]])
            self._paths[id_] = [*shared, self._jobs[id_]]

    def lines(self) -> Iterator[Line]:
        followed = {job.after for job in self._jobs.values()}
        ends = [job for job in self._jobs.values() if job.id not in followed and job.join is None]
        # Every end's path in order, each job once: a canvas has one end, but this must not hide jobs.
        sequence = dict.fromkeys(job for end in ends for job in self._paths[end.id])
        return self._draw([[job] for job in sequence], "")

    def _needs(self, job: JobRecord) -> list[JobRecord]:
        if job.after is not None:
            return [self._jobs[job.after]]
        return [] if job.kind == JobKind.EACH else self._members[job.id]

    def _branches(self, job: JobRecord) -> list[Branch]:
        """The sequences that count into a join or an ``each``, without what they all come after."""
        shared = 0 if job.kind == JobKind.EACH else len(self._paths[job.id]) - 1
        return [branch for member in self._members[job.id] if (branch := self._paths[member.id][shared:])]

    def _draw(self, branches: Sequence[Branch], indent: str, rest: str = "") -> Iterator[Line]:
        for number, branch in enumerate(branches):
            is_last = number == len(branches) - 1 and not rest
            yield from self._draw_branch(branch, indent, is_last=is_last)
        if rest:
            yield f"{indent}└─ {rest}", None

    def _draw_branch(self, branch: Branch, indent: str, *, is_last: bool) -> Iterator[Line]:
        below = indent + ("   " if is_last else "│  ")
        for number, job in enumerate(branch):
            inner = self._branches(job)
            start = below if number else indent + ("└─ " if is_last else "├─ ")
            yield start + _describe(job, len(inner)), job
            shown, rest = self._fold(inner)
            yield from self._draw(shown, below, rest)

    def _fold(self, branches: list[Branch]) -> tuple[list[Branch], str]:
        if len(branches) <= SHOWN_BRANCHES + 1 or len({_shape(branch) for branch in branches}) > 1:
            return branches, ""
        notable_first = sorted(
            range(len(branches)), key=lambda number: not any(map(_is_notable, branches[number]))
        )
        shown = sorted(notable_first[:SHOWN_BRANCHES])
        folded = [branches[number] for number in sorted(notable_first[SHOWN_BRANCHES:])]
        return [branches[number] for number in shown], _sum_up(folded)


def _common_start(paths: list[list[JobRecord]]) -> list[JobRecord]:
    levels = takewhile(lambda level: all(job is level[0] for job in level), zip(*paths, strict=False))
    return [level[0] for level in levels]


def _shape(branch: Branch) -> tuple[str, ...]:
    return tuple(job.name for job in branch)


def _is_notable(job: JobRecord) -> bool:
    return job.status != JobStatus.SUCCEEDED or job.attempts > 1


def _describe(job: JobRecord, branches: int) -> str:
    return f"{job.name} ({branches} branches)" if branches else f"{job.name} {job.label}".rstrip()


def _sum_up(branches: list[Branch]) -> str:
    jobs = [job for branch in branches for job in branch]
    statuses = dict.fromkeys(job.status for job in jobs)
    counts = [f"{sum(job.status == status for job in jobs)} {status}" for status in statuses]
    again = sum(job.attempts > 1 for job in jobs)
    seconds = [job.seconds for job in jobs if job.seconds is not None]
    parts = [f"… {len(branches)} more like these: {', '.join(counts)}"]
    parts += [f"{again} with more than one attempt"] if again else []
    parts += [f"{min(seconds):.2f} to {max(seconds):.2f} s each"] if seconds else []
    return "; ".join(parts)


def _columns(text: str, job: JobRecord | None, widths: _Widths, color: bool) -> str:
    if job is None:
        return text
    status = click.style(job.status, fg=_COLOURS.get(job.status, "yellow")) if color else job.status
    cells = [status + " " * (9 - len(job.status))]
    if job.kind in RUNNABLE:
        duration = "" if job.seconds is None else f"{job.seconds:.2f} s"
        cells += [f"attempts {job.attempts_summary:<{widths.attempts}}", f"{duration:>8}"]
        cells.append(padded(job.worker, widths.worker))
    cells.append(job.note)
    return f"{padded(text, widths.text)}  {'  '.join(cell for cell in cells if cell)}".rstrip()
