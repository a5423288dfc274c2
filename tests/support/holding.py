"""Attempts that take slots for calls inside their steps, and jobs of a strict limit."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select, update

from agentq import Concurrency, step
from agentq.ledger import holds, limits
from agentq.ledger.caretaking import rescues
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.holds import Full, Wanted
from agentq.ledger.models import HoldRow
from agentq.ledger.records import Claim
from agentq.policies.limits import Meters
from tests.support.fake_worker import decided
from tests.support.limited import LimitedWorker

CALLS = "searches"
ONE = Meters(slots=1)
STRICT = Meters(slots=1, is_strict=True)
LONG = 1_000.0
"""Seconds of a hard timeout."""


@step(hard_timeout=LONG, retries=3)
def research(question: str = "why") -> str:
    """A step without limits of its own, whose calls have one."""
    return question


@step(limits=[Concurrency("licence", limit=1, strict=True)], hard_timeout=LONG, retries=3)
def solve(problem: str = "hard") -> str:
    """A step of which never two may run, whatever becomes of a worker."""
    return problem


class HoldingWorker(LimitedWorker):
    """A worker whose attempts take slots inside their steps."""

    def research(self) -> Claim:
        """Start a job whose calls have a limit and claim it."""
        self.begin_all([research.s()])
        return self.next()

    def call(
        self,
        claim: Claim,
        declared: Meters = ONE,
        limit: str = CALLS,
        *,
        tokens: int | None = None,
        within: float = 0.0,
    ) -> uuid.UUID | Full:
        """Begin a call: its hold, or how full the limit is."""
        hold = uuid.uuid4()
        found = holds.take(self.ledger, hold, claim, Wanted(limit, declared, tokens, within))
        return found if isinstance(found, Full) else hold

    def holds(self) -> list[Any]:
        """Return all holds, oldest first."""
        return self._rows(select(HoldRow.__table__).order_by(HoldRow.created_at))

    def lose(self, pause: float = 0.0) -> int:
        """Let the lease of this worker end, and its attempts be rescued; returns how many."""
        self.renew(-1)
        return self.ledger.write(lambda tx: len(rescues.rescue_lost(tx, decided(pause), 10)))

    def tidy(self) -> None:
        """Do what a caretaker does for limits."""
        limits.fill(self.ledger)

    def let_time_come(self) -> None:
        """Let the time be over for which lost attempts keep slots."""
        past = update(HoldRow).where(HoldRow.until.is_not(None)).values(until=seconds_from_now(-1.0))
        self.ledger.write(lambda tx: tx.connection.execute(past))
