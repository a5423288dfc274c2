"""Entries of Celery's beat: at each tick it sends a message, and a worker asks the ledger what is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celery.schedules import BaseSchedule, schedstate

from agentq.policies.ticks import Timing
from agentq.runtime.dispatch.message import TICK

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


class BeatTimes(BaseSchedule):
    """The times of a schedule, as beat asks for them."""

    def __init__(self, timing: Timing, app: Any = None) -> None:
        super().__init__(app=app)
        self.timing = timing

    def __reduce__(self) -> Any:
        return type(self), (self.timing,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BeatTimes) and other.timing == self.timing

    def __hash__(self) -> int:
        return hash(self.timing)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """Return the time until the first tick after the last message."""
        return self.timing.after(_in_utc(last_run_at)) - datetime.now(UTC)

    def is_due(self, last_run_at: datetime) -> Any:
        """Return whether a tick came since the last message, and the seconds until beat is to ask again."""
        now = datetime.now(UTC)
        is_due = self.timing.after(_in_utc(last_run_at)) <= now
        return schedstate(is_due, max(0.0, (self.timing.after(now) - now).total_seconds()))


def beat_entries(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return an entry for each declared schedule, for ``app.conf.beat_schedule``."""
    return {
        f"agentq {declared.name}" + (f" of {declared.tenant}" if declared.tenant else ""): {
            "task": TICK,
            "schedule": BeatTimes(declared.timing),
            "args": (declared.name, declared.tenant),
        }
        for declared in engine.schedules.values()
    }


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
