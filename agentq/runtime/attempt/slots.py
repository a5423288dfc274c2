"""The slots and starts that one attempt takes inside its step: ``ctx.limit``."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentq.exceptions import InvalidArguments, LedgerError, LimitReached, StateConflict, nearest
from agentq.ledger import attempts, holds
from agentq.ledger.holds import Full, Wanted
from agentq.ledger.queries import limits as queries
from agentq.ledger.records import Claim
from agentq.outcomes import Cool
from agentq.redaction import show
from agentq.runtime.attempt.after_failure import refusal_in_block
from agentq.runtime.attempt.lease import current_lease
from agentq.steps.limit_block import BlockEnd

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

T = TypeVar("T")

UntilAnswered = Callable[[Callable[[], Any], str, Claim], Any]
"""Does work with the ledger again and again while that does not answer; the text says what for."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries to take a slot; each pause is twice as long as the one before, with jitter."""
_LONGEST_SLEEP = 1.0
"""Seconds of a sleep before a start, after which the attempt asks whether it is wanted still."""


@dataclass(slots=True)
class Slot:
    """A slot of a limit; ``hold`` is its row in the ledger, None where the job itself holds it."""

    limit: str
    hold: uuid.UUID | None
    tokens: int | None
    """The tokens that it has reserved; None for a limit that counts none."""
    is_paid: bool = field(default=False, kw_only=True)
    """True where the claim of the attempt has paid its start."""


class AttemptSlots:
    """The slots of one attempt, for steps that are functions and for those that are coroutines."""

    def __init__(
        self,
        engine: Engine,
        claim: Claim,
        until_answered: UntilAnswered,
        count_tokens: Callable[[str, int], None],
    ) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._claim = claim
        self._until_answered = until_answered
        self._count_tokens = count_tokens
        self._lease = current_lease()
        self._lock = threading.Lock()
        self._own_in_use: set[str] = set()
        self._own_begun: set[str] = set()
        self._holds: set[uuid.UUID] = set()

    def take(self, limit: str, wait: float, tokens: int | None) -> Slot:
        """Take a slot of *limit*, and a start of it, within *wait* seconds."""
        slot = self._first(limit, tokens)
        waits = _Waits(slot, wait)
        try:
            while isinstance(found := self._look(slot, waits.left), Full):
                self._engine.sleep(waits.next(found))
            for seconds in _naps(found):
                self._require_wanted()
                self._engine.sleep(seconds)
        except BaseException:
            self.free(slot, BlockEnd())
            raise
        return slot

    async def atake(self, limit: str, wait: float, tokens: int | None) -> Slot:
        """Take a slot of *limit*, and a start of it, within *wait* seconds; the event loop goes on."""
        slot = self._first(limit, tokens)
        waits = _Waits(slot, wait)
        try:
            while isinstance(found := await self._in_thread(partial(self._look, slot, waits.left)), Full):
                await self._engine.asleep(waits.next(found))
            for seconds in _naps(found):
                await self._in_thread(self._require_wanted)
                await self._engine.asleep(seconds)
        except BaseException:
            await self.afree(slot, BlockEnd())
            raise
        return slot

    def free(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back; where the ledger does not answer, with the end of the attempt."""
        assert isinstance(slot, Slot)
        more = 0 if end.tokens is None else end.tokens - (slot.tokens or 0)
        cool = self._refusal(slot.limit, end)
        if slot.hold is None:
            if more:
                self._count_tokens(slot.limit, more)
            with self._lock:
                self._own_in_use.discard(slot.limit)
            if cool is not None:
                with suppress(LedgerError):  # where the error leaves the step, the attempt's end closes it
                    holds.cool(self._ledger, self._claim, slot.limit, cool)
        elif slot.hold in self._holds:
            with suppress(LedgerError):
                succeeded = end.error is None
                holds.free(self._ledger, slot.hold, more_tokens=more, cool=cool, succeeded=succeeded)
                self._holds.discard(slot.hold)

    async def afree(self, slot: object, end: BlockEnd) -> None:
        """Give a slot back; the event loop goes on."""
        assert isinstance(slot, Slot)
        if slot.hold is None and end.error is None:
            self.free(slot, end)
        else:
            await self._in_thread(partial(self.free, slot, end))

    def close(self) -> None:
        """Free what blocks have left behind, as one in a thread that still runs."""
        if self._holds:
            with suppress(LedgerError):  # a caretaker does it
                holds.free_all_of(self._ledger, self._claim.job_id, self._claim.attempt)

    def _refusal(self, limit: str, end: BlockEnd) -> Cool | None:
        if end.error is None or not self._engine.cools(limit):
            return None
        return refusal_in_block(end.error, limit)

    def _first(self, limit: str, tokens: int | None) -> Slot:
        self._require_key(limit)
        tokens = self._engine.estimate_of(limit) if tokens is None else tokens
        claim = self._claim
        with self._lock:
            if limit not in (claim.limits or ()) or limit in self._own_in_use:
                return Slot(limit, uuid.uuid4(), tokens)
            self._own_in_use.add(limit)
            if limit in self._own_begun and claim.has_paid:
                return Slot(limit, None, tokens)
            self._own_begun.add(limit)
            reserved = dict(zip(claim.limits or (), claim.tokens or (), strict=False)).get(limit)
            return Slot(limit, None, reserved, is_paid=True)

    def _look(self, slot: Slot, within: float) -> float | Full:
        """Take the slot if one is free, and pay for its start: the seconds until that."""
        if slot.is_paid:
            return 0.0
        if self._lease.valid_for() <= 0 and not self._lease.is_away:
            raise self._unwanted("of a worker with a lease", "of one whose lease is over")
        wanted = Wanted(slot.limit, self._engine.meters_of(slot.limit), slot.tokens, within)
        if slot.hold is None:
            pay = partial(holds.pay, self._ledger, self._claim, wanted)
            paid: float | Full = self._until_answered(pay, f"to pay a start of {slot.limit}", self._claim)
            return paid
        self._holds.add(slot.hold)  # before it is there: so it is freed also where the answer is lost
        take = partial(holds.take, self._ledger, slot.hold, self._claim, wanted)
        try:
            found: float | Full = self._until_answered(take, f"to take a slot of {slot.limit}", self._claim)
        except KeyError:
            self._holds.discard(slot.hold)
            raise self._unknown(slot.limit) from None
        except (InvalidArguments, StateConflict):
            self._holds.discard(slot.hold)
            raise
        if isinstance(found, Full):
            self._holds.discard(slot.hold)
        return found

    def _require_wanted(self) -> None:
        """Raise StateConflict where the attempt is over; a ledger that does not answer has not ended it."""
        with suppress(LedgerError):
            owns = partial(attempts.still_owns, job_id=self._claim.job_id, attempt=self._claim.attempt)
            if not self._ledger.read(owns, wait_timeout=0):
                raise self._unwanted("running", "over")

    def _unwanted(self, expected: str, found: str) -> StateConflict:
        return StateConflict(
            f"attempt {self._claim.attempt} of job {self._claim.job_id}",
            expected=[expected],
            found=found,
            next_step="It takes no slots, and its outcome will not be wanted: end the step.",
        )

    def _require_key(self, limit: str) -> None:
        keys = self._engine.keyed_limits()
        if limit in keys:
            key = "a function" if callable(keys[limit]) else show(keys[limit])
            raise InvalidArguments(
                f"ctx.limit({limit!r}): limit {limit!r} is divided by its key ({key}): each value of it has slots "
                f"of its own, and the name alone has none. Name the value too: ctx.limit('{limit}:NAME'); or "
                "declare a limit of another name with AgentQ(app, call_limits=[…])"
            )

    def _unknown(self, limit: str) -> InvalidArguments:
        name = limit.partition(":")[0]
        near = self._ledger.read(partial(queries.near, name=limit))
        known = [*self._engine.declared_limits(), *near]
        return InvalidArguments(
            f"ctx.limit({limit!r}): there is no such limit.{nearest(limit, known) or nearest(name, known)} "
            f"Declare it with AgentQ(app, call_limits=[Concurrency({name!r}, limit=…)])"
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do *work* in a thread; it is done also where the coroutine is cancelled then."""
        doing = asyncio.ensure_future(self._ledger.in_thread(work))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            await asyncio.wait({doing})
            raise


class _Waits:
    """The pauses between looks for a slot, up to *wait* seconds in all."""

    def __init__(self, slot: Slot, wait: float) -> None:
        self._slot = slot
        self._wait = self.left = wait
        self._pause = _FIRST_PAUSE

    def next(self, full: Full) -> float:
        """Return the next pause; raises LimitReached where the time is over, or is before the start is due."""
        if self.left <= 0 or full.due_in > self.left:
            raise LimitReached(
                limit=self._slot.limit,
                used=full.used,
                slots=full.slots,
                wait=self._wait,
                due_in=full.due_in,
                tokens=self._slot.tokens or 0,
            )
        pause = full.due_in if full.cools else self._pause * random.uniform(0.75, 1.25)
        # Also where the clocks differ by a moment: it looks again, and not at once.
        pause = min(max(pause, _FIRST_PAUSE), _LONGEST_PAUSE, self.left)
        self.left -= pause
        if not full.cools:
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause


def _naps(seconds: float) -> list[float]:
    """Divide the sleep before a start: after each part but the last, the attempt may find that it is over."""
    whole, rest = divmod(seconds, _LONGEST_SLEEP)
    return [nap for nap in (*[_LONGEST_SLEEP] * int(whole), rest) if nap > 0]
