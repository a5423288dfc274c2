"""Celery's options of one step, as fields of its node; an option that a job cannot have is refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Signature

from agentq.exceptions import CanvasError
from agentq.redaction import show
from agentq.steps.definition import HARD_LIMIT_AFTER

NO_MEANING = frozenset({"ignore_result", "add_to_parent"})
"""Options that change nothing for a job, and are ignored."""
_TASK_OPTIONS = frozenset(
    {"queue", "priority", "countdown", "eta", "expires", "time_limit", "soft_time_limit", "link"}
    | {"needs", "within", "on_failure"}
)
INSTEAD = {
    "link_error": "handle failures in a function with @agentq.on_dead_letter, which is called for every job that "
    "failed for good, and say with on_failure= what becomes of the workflow",
    "stamped_headers": "distinguish workflows by the tenant and the key of start(), or by their arguments",
    "task_id": "start a signature that is not frozen and has no id: start() returns the workflow, which has one, "
    "and key= names it",
}
"""The replacement for each of Celery's options that a job cannot have."""


def checked_options(part: Signature) -> dict[str, Any]:
    """Return the options that are given to a step; raises CanvasError for one that a job cannot have."""
    options = {name: value for name, value in (part.options or {}).items() if value is not None}
    unknown = set(options) - _TASK_OPTIONS - NO_MEANING
    if unknown:
        name = first_refused(unknown)
        hint = INSTEAD.get(name, f"supported are {', '.join(sorted(_TASK_OPTIONS))}")
        raise CanvasError(f"step {part.task!r}: the option {name!r} is not supported in a canvas; {hint}")
    priority = options.get("priority")
    if priority is not None and priority not in range(10):
        raise CanvasError(f"step {part.task!r}: priority is {priority!r}, must be 0 to 9, 9 first")
    return options


def first_refused(options: Iterable[str]) -> str:
    """Return the name of a refused option for the error: one that has a replacement, if there is one."""
    return min(options, key=lambda name: (name not in INSTEAD, name))


def limits_of(
    name: str, options: dict[str, Any], own_soft: float | None, own_hard: float | None
) -> dict[str, Any]:
    """Return the time limits of a node: those of the call, or else the step's or the task's own."""
    soft, hard = options.get("soft_time_limit"), options.get("time_limit")
    if soft is None and hard is None:
        soft, hard = own_soft, own_hard
    for option, seconds in (("soft_time_limit", soft), ("time_limit", hard)):
        if seconds is not None and not (_is_seconds(seconds) and seconds > 0):
            raise CanvasError(f"step {name!r}: {option} is {seconds!r}, must be over 0 seconds")
    if soft is not None and hard is None:
        hard = soft + HARD_LIMIT_AFTER
    if soft is not None and hard <= soft:
        raise CanvasError(f"step {name!r}: time_limit is {hard!r}, must be longer than soft_time_limit, {soft!r}")
    return {"timeout": soft, "hard_timeout": hard}


def times_of(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the times from which and until which a node can run."""
    countdown, eta, expires = options.get("countdown"), options.get("eta"), options.get("expires")
    if countdown is not None and not (_is_seconds(countdown) and countdown >= 0):
        raise CanvasError(f"step {name!r}: countdown is {countdown!r}, must be seconds from 0 up")
    if isinstance(expires, (int, float)) and not _is_seconds(expires):
        raise CanvasError(f"step {name!r}: expires is {expires!r}, must be seconds or a time")
    # Relative times stay relative: the ledger's clock makes absolute ones of them.
    expires_in = float(expires) if isinstance(expires, (int, float)) else None
    return {
        "delay": float(countdown) if countdown else None,
        "due_at": time_text(eta, f"step {name!r}: eta"),
        "expires_in": expires_in,
        "expires_at": time_text(expires, f"step {name!r}: expires") if expires_in is None else None,
    }


def time_text(value: Any, what: str, *, past_allowed: bool = True) -> str | None:
    """Return an aware time as ISO text; raises CanvasError for anything that has no clear time.

    A time that passed over a day ago is refused unless *past_allowed*: it is a mistake, not a delay.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise CanvasError(f"{what} is {value!r}, which is no ISO 8601 time") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise CanvasError(f"{what} is {show(value)}; give a datetime with a time zone, such as datetime.now(UTC)")
    if not past_allowed and value < datetime.now(UTC) - timedelta(days=1):
        raise CanvasError(f"{what} is {value.isoformat()}, which is long past; leave it out to start now")
    return value.astimezone(UTC).isoformat()


def queue_name(queue: Any) -> str | None:
    """Return the name of a queue, which Celery takes as a name or as a kombu ``Queue``."""
    return None if queue is None else str(getattr(queue, "name", queue))


def checked_queue(task: str, queue: str) -> str:
    """Return the name of a task's queue; raises CanvasError for one that a broker or the ledger cannot hold."""
    if len(queue) > 255 or not queue.isprintable():
        raise CanvasError(
            f"the queue of {task!r} is {show(queue)}; its name must be 1 to 255 printable characters"
        )
    return queue


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
