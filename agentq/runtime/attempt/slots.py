"""The slots that one attempt takes inside its step: ``ctx.limit``."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from agentq.exceptions import InvalidArguments, LedgerError, LimitReached, StateConflict, nearest
from agentq.ledger import holds
from agentq.ledger.holds import Full
from agentq.ledger.queries import limits as queries
from agentq.ledger.records import Claim
from agentq.runtime.attempt.lease import current_lease

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

T = TypeVar("T")

UntilAnswered = Callable[[Callable[[], Any], str, Claim], Any]
"""Does work with the ledger again and again while that does not answer; the text says what for."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two tries to take a slot; each pause is twice as long as the one before, with jitter."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of a limit; ``hold`` is its row in the ledger, None where the job itself holds it."""

    limit: str
    hold: uuid.UUID | None


class AttemptSlots:
    """The slots of one attempt, for steps that are functions and for those that are coroutines."""

    def __init__(self, engine: Engine, claim: Claim, until_answered: UntilAnswered) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._claim = claim
        self._until_answered = until_answered
        self._lease = current_lease()
        self._lock = threading.Lock()
        self._own_in_use: set[str] = set()
        self._holds: set[uuid.UUID] = set()

    def take(self, limit: str, wait: float) -> Slot:
        """Take a slot of *limit* within *wait* seconds."""
        slot, pauses = self._first(limit), _Pauses(limit, wait)
        try:
            while (full := self._look(slot)) is not None:
                self._engine.sleep(pauses.next(full))
        except BaseException:
            self.free(slot)
            raise
        return slot

    async def atake(self, limit: str, wait: float) -> Slot:
        """Take a slot of *limit* within *wait* seconds; the event loop goes on."""
        slot, pauses = self._first(limit), _Pauses(limit, wait)
        try:
            while (full := await self._in_thread(partial(self._look, slot))) is not None:
                await self._engine.asleep(pauses.next(full))
        except BaseException:
            await self.afree(slot)
            raise
        return slot

    def free(self, slot: object) -> None:
        """Give a slot back; where the ledger does not answer, with the end of the attempt."""
        assert isinstance(slot, Slot)
        if slot.hold is None:
            with self._lock:
                self._own_in_use.discard(slot.limit)
        elif slot.hold in self._holds:
            with suppress(LedgerError):
                holds.free(self._ledger, slot.hold)
                self._holds.discard(slot.hold)

    async def afree(self, slot: object) -> None:
        """Give a slot back; the event loop goes on."""
        assert isinstance(slot, Slot)
        if slot.hold is None:
            self.free(slot)
        else:
            await self._in_thread(partial(self.free, slot))

    def close(self) -> None:
        """Free what blocks have left behind, as one in a thread that still runs."""
        if self._holds:
            with suppress(LedgerError):  # a caretaker does it
                holds.free_all_of(self._ledger, self._claim.job_id, self._claim.attempt)

    def _first(self, limit: str) -> Slot:
        with self._lock:
            if limit in (self._claim.limits or ()) and limit not in self._own_in_use:
                self._own_in_use.add(limit)
                return Slot(limit, None)
        return Slot(limit, uuid.uuid4())

    def _look(self, slot: Slot) -> Full | None:
        """Take the slot if one is free: None then."""
        if slot.hold is None:
            return None
        if self._lease.valid_for() <= 0 and not self._lease.is_away:
            raise StateConflict(
                f"attempt {self._claim.attempt} of job {self._claim.job_id}",
                expected=["of a worker with a lease"],
                found="of one whose lease is over",
                next_step="It takes no slots, and its outcome will not be wanted: end the step.",
            )
        declared = self._engine.meters_of(slot.limit)
        self._holds.add(slot.hold)  # before it is there: so it is freed also where the answer is lost
        take = partial(holds.take, self._ledger, slot.hold, slot.limit, self._claim, declared)
        try:
            full: Full | None = self._until_answered(take, f"to take a slot of {slot.limit}", self._claim)
        except KeyError:
            self._holds.discard(slot.hold)
            raise self._unknown(slot.limit) from None
        except (InvalidArguments, StateConflict):
            self._holds.discard(slot.hold)
            raise
        if full is not None:
            self._holds.discard(slot.hold)
        return full

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


class _Pauses:
    """The pauses between looks for a slot, up to *wait* seconds in all."""

    def __init__(self, limit: str, wait: float) -> None:
        self._limit = limit
        self._wait = self._left = wait
        self._pause = _FIRST_PAUSE

    def next(self, full: Full) -> float:
        """Return the next pause; raises LimitReached where the time is over."""
        if self._left <= 0:
            raise LimitReached(limit=self._limit, used=full.used, slots=full.slots, wait=self._wait)
        pause = min(self._pause * random.uniform(0.75, 1.25), self._left)
        self._left -= pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return pause
