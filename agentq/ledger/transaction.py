"""The unit of work: a connection in a transaction, and what follows its commit: the jobs to dispatch, and work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from agentq.ledger.after_commit import AfterCommit
from agentq.ledger.records import Dispatch
from agentq.steps.naming import Naming

Publish = Callable[[Sequence[Dispatch]], object]
"""Publishes the messages of jobs, once the transaction that made them ready is committed."""


NamingOf = Callable[[], Naming]
"""Returns what names the limits of jobs."""

T = TypeVar("T")


class Transactions(Protocol):
    """A ledger as work needs it that runs in transactions of its own; see ``Ledger``."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run *work* in one transaction."""

    def write_statement(self, work: Callable[[Transaction], T]) -> T:
        """Run *work*, which writes with one statement."""

    @property
    def is_postgresql(self) -> bool:
        """True where it is on PostgreSQL."""

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which only reads, on one snapshot."""

    def read_statement(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which reads with one statement."""


class Transaction:
    """One try of a transaction that writes; each try is given a new one, so nothing is left of one that failed.

    *naming* is what names the limits of jobs; None where the process has no app.
    """

    __slots__ = ("_dispatches", "_works", "connection", "naming")

    def __init__(self, connection: Connection, naming: NamingOf | None = None) -> None:
        self.connection = connection
        self.naming = naming
        self._dispatches: list[Dispatch] = []
        self._works: dict[AfterCommit, None] = {}

    def dispatch(self, *jobs: Dispatch) -> None:
        """Have these jobs dispatched after the commit, and never if there is none."""
        self._dispatches.extend(jobs)

    def take_dispatches(self) -> list[Dispatch]:
        """Return the jobs to be dispatched, and forget them: the caller dispatches them."""
        taken, self._dispatches = self._dispatches, []
        return taken

    def then(self, *works: AfterCommit) -> None:
        """Have this done after the commit, once for those that are equal, and never if there is none."""
        self._works.update(dict.fromkeys(works))

    def take_works(self) -> list[AfterCommit]:
        """Return what is to be done after the commit, and forget it: the caller does it."""
        taken, self._works = list(self._works), {}
        return taken
