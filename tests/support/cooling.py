"""Steps of limits that a refused call closes, and outcomes of such calls."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update

from agentq import Concurrency, Cooldown, Rate, step
from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import LimitRow
from agentq.outcomes import Cool, Fail, Failure, RetryLater
from tests.support.limited import LimitedWorker

API, FREE, PAID, GPU = "cooling:api", "cooling:free", "cooling:paid", "gpu"
AT_ONCE = 4
REFUSAL = Failure("rate_limit", "RateLimitError", "slow down", status=429)


@step(limits=[Concurrency("cooling", key="name", limit=AT_ONCE), Cooldown("cooling", key="name")])
def call(name: str = "api") -> str:
    """A call of a provider that may refuse it."""
    return name


@step(limits=[Cooldown("cooling", key="name")])
def call_freely(name: str = "free") -> str:
    """A call of which any number may run at once."""
    return name


@step(
    limits=[
        Concurrency("cooling", key="name", limit=AT_ONCE),
        Rate("cooling", key="name", limit=100_000, per=60, burst=1_000),
        Cooldown("cooling", key="name"),
    ]
)
def call_at_a_rate(name: str = "paid") -> str:
    """A call whose start is paid by its claim."""
    return name


@step(
    limits=[
        Concurrency("gpu", limit=1),
        Concurrency("cooling", key="name", limit=AT_ONCE),
        Cooldown("cooling", key="name"),
    ]
)
def call_with_gpu(name: str = "api") -> str:
    """A call that needs a slot of another limit too."""
    return name


def refused(seconds: float | None = None, limit: str = API) -> RetryLater:
    """The outcome of a call that the provider refused, to come back in *seconds* where it said so."""
    cool = Cool((limit,), seconds, "429")
    return RetryLater(REFUSAL, seconds or 0.0, "rate_limit: deferred", burns_attempt=False, cool=cool)


def failed(seconds: float | None = None, limit: str = API) -> Fail:
    """The outcome of a refused call whose job is not tried again."""
    return Fail(REFUSAL, "rate_limit: used up 50 of 50 deferrals", cool=Cool((limit,), seconds, "429"))


def end_cooldown(worker: LimitedWorker, limit: str = API) -> None:
    """Let the cooldown of a limit have ended just now, after all that began before."""
    time.sleep(0.002)  # SQLite's clock counts milliseconds
    ended = update(LimitRow).where(LimitRow.name == limit).values(cooldown_until=seconds_from_now(-0.001))
    worker.ledger.write(lambda tx: tx.connection.execute(ended))


def seconds_left(worker: LimitedWorker, limit: str = API) -> float:
    """Return the seconds to the end of a limit's cooldown, to a tenth."""
    times = select(LimitRow.cooldown_until, now().label("read_at")).where(LimitRow.name == limit)
    row: Any = worker.ledger.read(lambda connection: connection.execute(times).one())
    return round((row.cooldown_until - row.read_at).total_seconds(), 1)


def forget_cooldown(worker: LimitedWorker, limit: str = API) -> None:
    """Let a limit be as if it had never cooled."""
    values = {"cooldown_until": None, "ramp": None, "carried": 0, "strikes": 0}
    forgotten = update(LimitRow).where(LimitRow.name == limit).values(values)
    worker.ledger.write(lambda tx: tx.connection.execute(forgotten))
