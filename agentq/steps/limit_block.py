"""``ctx.limit``: a block of a step that holds a slot of a limit, for ``with`` and ``async with`` alike."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from agentq.exceptions import LimitReached


class Slots(Protocol):
    """The slots that an attempt takes of limits; for each it gets an object, with which it gives the slot back."""

    def take(self, limit: str, wait: float) -> object:
        """Take a slot within *wait* seconds; raises LimitReached."""

    def free(self, slot: object) -> None:
        """Give a slot back."""

    async def atake(self, limit: str, wait: float) -> object:
        """Take a slot, without blocking the event loop."""

    async def afree(self, slot: object) -> None:
        """Give a slot back, without blocking the event loop."""


class LimitBlock:
    """A block that holds a slot from its beginning to its end."""

    def __init__(self, slots: Slots, limit: str, wait: float) -> None:
        self._slots = slots
        self._limit = limit
        self._wait = wait
        self._held: list[object] = []

    def __enter__(self) -> None:
        self._held.append(self._slots.take(self._limit, self._wait))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.free(self._held.pop())

    async def __aenter__(self) -> None:
        self._held.append(await self._slots.atake(self._limit, self._wait))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._slots.afree(self._held.pop())


class FreeSlots:
    """Slots where no ledger counts them: there is always one, but of the limits that are *full*."""

    def __init__(self, full: frozenset[str] = frozenset()) -> None:
        self._full = full

    def take(self, limit: str, wait: float) -> object:
        """Take a slot; raises LimitReached at once for a full limit."""
        if limit in self._full:
            raise LimitReached(limit=limit, used=1, slots=1, wait=wait)
        return None

    def free(self, slot: object) -> None:
        """Give a slot back."""

    async def atake(self, limit: str, wait: float) -> object:
        """Take a slot, as ``take`` does."""
        return self.take(limit, wait)

    async def afree(self, slot: object) -> None:
        """Give a slot back."""
