"""Steps with rates and tokens, and a worker that can let their time pass."""

from __future__ import annotations

from sqlalchemy import select, update

from agentq import Concurrency, Context, Rate, Tokens, step
from agentq.ledger import moves
from agentq.ledger.db.types import clock, later, now
from agentq.ledger.models import AttemptRow, JobRow, LimitRow
from agentq.ledger.records import Claim, Dispatch, dispatch_of
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus
from tests.support.limited import LimitedWorker

GAP = 10.0
"""Seconds from one start of ``call`` to the next."""
BURST = 3
TOKEN_GAP = 0.1
"""Seconds from one token of ``spend`` to the next."""
BUCKET = 100
"""Tokens of ``spend`` at once."""
_TIMES = ("rank_at", "created_at", "dispatched_at", "started_at", "finished_at")
"""Of jobs and attempts, the place in a line and those that the audit compares."""


@step(limits=[Rate("calls", limit=7, per=60)])
def call() -> None:
    """A call of which one may start each ten seconds."""


@step(limits=[Rate("bursts", limit=6 + BURST, per=60, burst=BURST)])
def call_in_bursts() -> None:
    """A call of which one may start each ten seconds, and few at once."""


@step(limits=[Rate("calls", limit=7, per=60), Rate("slow", limit=2, per=60)])
def call_both() -> None:
    """A call with two rates: each ten seconds, each minute."""


@step(limits=[Concurrency("held", limit=2), Rate("held", limit=11, per=60, burst=5)])
def hold() -> None:
    """A call of which two may run at once, though more may start."""


@step(limits=[Tokens("spent", limit=700, per=60, burst=BUCKET, estimate="tokens")])
def spend(ctx: Context, tokens: int = 50) -> None:
    """A call of which ten tokens are free each second."""


class PacedWorker(LimitedWorker):
    """A worker with limits of whose time some may have passed."""

    passed = 0.0
    """Seconds that were let pass, beside the real ones."""

    def let_pass(self, seconds: float) -> None:
        """Let so many seconds pass, as the limits see it."""
        self.passed += seconds
        earlier = {"rate_due": LimitRow.rate_due - seconds, "tokens_due": LimitRow.tokens_due - seconds}

        def pass_(tx: Transaction) -> None:
            tx.connection.execute(update(LimitRow).values(earlier))
            for row in (JobRow, AttemptRow):
                times = [name for name in _TIMES if name in row.__table__.c]
                values = {name: later(getattr(row, name), -seconds) for name in times}
                tx.connection.execute(update(row).values(values))

        self.ledger.write(pass_)

    def due_in(self, limit: str, meter: str = "rate") -> float:
        """Return the seconds until the next start, or token, of a limit is due."""
        column = getattr(LimitRow, f"{meter}_due") - clock()
        query = select(column).where(LimitRow.name == limit)
        return float(self.ledger.read(lambda connection: connection.execute(query).scalar_one()))

    def set_due(self, limit: str, seconds: float, meter: str = "rate") -> None:
        """Let the next start, or token, of a limit be due in so many seconds."""
        values = {f"{meter}_due": clock() + seconds}
        change = update(LimitRow).where(LimitRow.name == limit).values(values)
        self.ledger.write(lambda tx: tx.connection.execute(change))

    def admit_all(self, limit: str) -> list[Dispatch]:
        """Let all jobs in the line of a limit have a message, however many can start; returns those."""
        line = (JobRow.status == JobStatus.BLOCKED, JobRow.blocked_on == limit)
        admitted = {"status": "queued", "held": 1, "is_outstanding": True, "blocked_by": None, "blocked_on": None}

        def admit(tx: Transaction) -> list[Dispatch]:
            jobs = tx.connection.execute(select(JobRow.id, JobRow.tokens).where(*line)).all()
            ids = [job.id for job in jobs]
            tx.connection.execute(update(JobRow).where(*line).values(admitted | {"dispatched_at": now()}))
            more = {
                "used": LimitRow.used + len(jobs),
                "outstanding": LimitRow.outstanding + len(jobs),
                "outstanding_tokens": LimitRow.outstanding_tokens + sum(sum(job.tokens or []) for job in jobs),
            }
            tx.connection.execute(update(LimitRow).where(LimitRow.name == limit).values(more))
            rows = tx.connection.execute(select(*moves.DISPATCH).where(JobRow.id.in_(ids)).order_by(JobRow.id))
            return [dispatch_of(row) for row in rows]

        return self.ledger.write(admit)

    def started_at(self, claimed: Claim) -> float:
        """Return when an attempt starts, in seconds since 1970 as its limits have seen them pass."""
        return claimed.started_at.timestamp() + self.passed


def most_in(times: list[float], seconds: float) -> int:
    """Return how many of *times* are in one window of so many seconds, at most."""
    first = most = 0
    times = sorted(times)
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
