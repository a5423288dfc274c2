"""The unit of work: a connection in a transaction, and the jobs to dispatch after its commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from agentq.ledger.records import Dispatch

Publish = Callable[[Sequence[Dispatch]], object]
"""Publishes the messages of jobs, once the transaction that made them ready is committed."""


class Transaction:
    """One try of a transaction that writes; each try is given a new one, so nothing is left of one that failed."""

    __slots__ = ("_dispatches", "connection")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._dispatches: list[Dispatch] = []

    def dispatch(self, *jobs: Dispatch) -> None:
        """Have these jobs dispatched after the commit, and never if there is none."""
        self._dispatches.extend(jobs)

    def take_dispatches(self) -> list[Dispatch]:
        """Return the jobs to be dispatched, and forget them: the caller dispatches them."""
        taken, self._dispatches = self._dispatches, []
        return taken
