"""The unit of work: a connection in a transaction, the changes of workflows that are made last in it, and what
follows its commit: the jobs to dispatch, and work."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(slots=True)
class WorkflowChange:
    """The change of a workflow by a transaction, in this order."""

    stopped_by: uuid.UUID | None = None
    """The job that failed for good and stops it."""
    reopens: bool = False
    """True if it runs again, unless a job stops it that no fan-in goes on without."""
    succeeds: bool = False
    """True if its last job is done."""


class Transaction:
    """One try of a transaction that writes; each try is given a new one, so nothing is left of one that failed.

    *naming* is what names the limits of jobs; None where the process has no app.
    """

    __slots__ = ("_changes", "_dispatches", "_works", "connection", "naming")

    def __init__(self, connection: Connection, naming: NamingOf | None = None) -> None:
        self.connection = connection
        self.naming = naming
        self._changes: dict[uuid.UUID, WorkflowChange] = {}
        self._dispatches: list[Dispatch] = []
        self._works: dict[AfterCommit, None] = {}

    def change_of(self, workflow_id: uuid.UUID) -> WorkflowChange:
        """Return the change of a workflow that ``moves.change_workflows`` makes at the end, to be added to."""
        return self._changes.setdefault(workflow_id, WorkflowChange())

    def take_changes(self) -> list[tuple[uuid.UUID, WorkflowChange]]:
        """Return the workflows to be changed, by id, and forget them: the caller changes them."""
        taken, self._changes = sorted(self._changes.items()), {}
        return taken

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
