"""``ctx.limit``: a block of a step that takes a limit, for ``with`` and ``async with`` alike."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from agentq.exceptions import InvalidValue, LimitReached
from agentq.redaction import show


@dataclass(frozen=True, slots=True)
class BlockEnd:
    """The end of a block: the tokens that it has used, if it said so, and the error that left it, if any."""

    tokens: int | None = None
    error: BaseException | None = None


class Slots(Protocol):
    """The slots that an attempt takes of limits; for each it gets an object, with which it gives the slot back."""

    def take(self, limit: str, wait: float, tokens: int | None) -> object:
        """Take a slot and a start within *wait* seconds; raises LimitReached."""

    def free(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back."""

    async def atake(self, limit: str, wait: float, tokens: int | None) -> object:
        """Take a slot and a start, without blocking the event loop."""

    async def afree(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back, without blocking the event loop."""


class LimitedCall:
    """A block that runs: ``with ctx.limit("model:gpt-5", tokens=1200) as call:``."""

    def __init__(self, slot: object) -> None:
        self._slot = slot
        self._tokens: int | None = None

    def used(self, *, tokens: int) -> None:
        """Say how many *tokens* the block has used: its limit counts these in place of the ones it reserved.

        The last word before the end of the block counts. Raises InvalidValue for what is no whole number from 0.
        """
        if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
            raise InvalidValue(f"used(tokens={show(tokens)}): must be a whole number of tokens, 0 or more")
        self._tokens = tokens

    def end(self, error: BaseException | None) -> tuple[object, BlockEnd]:
        """Return the slot to give back, and how the block ended: for the block itself."""
        return self._slot, BlockEnd(self._tokens, error)


class LimitBlock:
    """A block that holds a slot from its beginning to its end, and begins when a start is due."""

    def __init__(self, slots: Slots, limit: str, wait: float, tokens: int | None) -> None:
        self._slots = slots
        self._wanted = limit, wait, tokens
        self._calls: list[LimitedCall] = []

    def __enter__(self) -> LimitedCall:
        self._calls.append(LimitedCall(self._slots.take(*self._wanted)))
        return self._calls[-1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.free(*self._calls.pop().end(error))

    async def __aenter__(self) -> LimitedCall:
        self._calls.append(LimitedCall(await self._slots.atake(*self._wanted)))
        return self._calls[-1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._slots.afree(*self._calls.pop().end(error))


class FreeSlots:
    """Slots where no ledger counts them: there is always one, but of the limits that are *full*."""

    def __init__(self, full: frozenset[str] = frozenset()) -> None:
        self._full = full

    def take(self, limit: str, wait: float, tokens: int | None) -> object:
        """Take a slot; raises LimitReached at once for a full limit."""
        if limit in self._full:
            raise LimitReached(limit=limit, used=1, slots=1, wait=wait, tokens=tokens or 0)
        return None

    def free(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back."""

    async def atake(self, limit: str, wait: float, tokens: int | None) -> object:
        """Take a slot, as ``take`` does."""
        return self.take(limit, wait, tokens)

    async def afree(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back."""
