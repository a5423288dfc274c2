"""The contenders: one side doing one work, on a ledger and in a pool of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import ledgers
from benchmarks.work import Figures, Work

if TYPE_CHECKING:
    from benchmarks.crew import Crew

BARE, DURABLE = "bare", "durable"
"""The two sides, as their modules are named."""
WAITING = "waiting"
"""Stands for the pool that was chosen for steps that wait."""


def do_work(crew: Crew) -> Figures:
    """Let the client do the work, as most are measured."""
    return crew.client.do(crew.contender.work, crew.contender.size)


@dataclass(frozen=True)
class Contender:
    """A side with its work, ledger and pool."""

    name: str
    side: str
    work: Work
    size: int
    warm_up: int
    """The size of the same work that is done first, in the same worker."""
    jobs: int | None = None
    """The number of jobs in the work, where its CPU can be counted for each."""
    pool: str | None = None
    """The worker's pool; None for the one that was chosen."""
    concurrency: int | None = None
    open_ledger: ledgers.Opener = ledgers.empty
    prepare: Callable[[Crew], object] | None = None
    """Brings the ledger into the state that it is to be in, once, before all rounds."""
    measure: Callable[[Crew], Figures] = do_work
