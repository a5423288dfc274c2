"""One decision about many things: what a filter finds, oldest first, each in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from agentq.exceptions import (
    ConfigurationError,
    InvalidArguments,
    InvalidResult,
    NotFound,
    StateConflict,
    ValueTooLarge,
)
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from agentq.operations.schemas import Decided, Refused

MOST = 100
MOST_OF_ALL = 10_000
"""The default and the largest number of rows that one call decides on."""
_REFUSALS = (ConfigurationError, InvalidArguments, InvalidResult, NotFound, StateConflict, ValueTooLarge)

D = TypeVar("D", bound=Decided[Any])
T = TypeVar("T")


def bounded(most: int) -> int:
    """Return the largest number of rows to decide on; raises InvalidArguments where it is not 1 to 10,000."""
    if not 1 <= most <= MOST_OF_ALL:
        raise InvalidArguments(f"most is {most!r}; it must be 1 to {MOST_OF_ALL}")
    return most


def carry_out(plan: D, decide: Callable[[Any, int], Any]) -> D:
    """Decide about each item of *plan*; return what was done, and what was refused and why.

    *decide* is given an item and how many were decided before, and returns the item as it is then. What does not
    fit an item keeps nothing from the others; any other error ends it, and what is decided by then stays so.
    """
    done: list[Any] = []
    refused: list[Refused] = []
    for item in plan.done:
        try:
            done.append(decide(item, len(done)))
        except _REFUSALS as error:
            refused.append(Refused(id=item.id, why=str(error)))
    return plan.model_copy(update={"done": done, "refused": refused})


def rehearse(ledger: Ledger, plan: D, decide: Callable[[Ledger, Any, int], Any]) -> D:
    """Decide about each item of *plan* on a ledger that takes it back; return those, as they are, and the refused.

    *decide* is given the ledger, an item and how many were decided before.
    """
    rehearsal = cast(Ledger, _Rehearsal(ledger))
    found = carry_out(plan, lambda item, before: decide(rehearsal, item, before))
    refused = {item.id for item in found.refused}
    return found.model_copy(update={"done": [item for item in plan.done if item.id not in refused]})


class _TakenBack(Exception):
    """Ends a transaction, so that nothing of it stays, with what it would have returned."""


class _Rehearsal:
    """A ledger of which only the writes differ: each is taken back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Return what *work* returns in a transaction that is taken back."""

        def taken_back(tx: Transaction) -> None:
            raise _TakenBack(work(tx))

        try:
            self._ledger.write(taken_back)
        except _TakenBack as end:
            return cast(T, end.args[0])
        raise AssertionError("a rehearsal was not taken back")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
