"""The schedules that code declares, checked when they are declared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict

from agentq.exceptions import ScheduleError, nearest
from agentq.policies.ticks import ON_TIME, Timing, checked_timing
from agentq.redaction import show
from agentq.states import Overlap

MOST_CAUGHT_UP = 1_000
"""The most ticks that are caught up at one time: the meaning of "all"."""
LONGEST_WINDOW = timedelta(days=31)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ScheduleOptions(TypedDict, total=False):
    """The options of a schedule; the docstring of ``AgentQ.schedule`` says what each one is."""

    cron: str | None
    every: timedelta | None
    timezone: str | None
    catch_up: int | Literal["all"]
    catch_up_window: timedelta
    overlap: Literal["skip", "queue", "allow", "cancel"]
    tenant: str | None


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule as code declares it; *tenant* is None for the app's own."""

    name: str
    canvas: Any
    timing: Timing
    catch_up: int
    catch_up_window: float
    overlap: Overlap
    tenant: str | None


Declarations = dict[tuple[str | None, str], Declared]
"""The schedules of an app, by tenant and name."""


def declare(there: Declarations, name: object, canvas: Any, options: ScheduleOptions) -> None:
    """Add a schedule to those of an app; raises ScheduleError for one without sense, or another of its name."""
    new = _checked(name, canvas, options)
    before = there.setdefault((new.tenant, new.name), new)
    if before != new:
        raise ScheduleError(
            f"two declarations have the name {new.name!r}, and differ in {_difference(before, new)}; give each "
            "schedule a name of its own, or a tenant"
        )


def _checked(name: object, canvas: Any, options: ScheduleOptions) -> Declared:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ScheduleError(
            f"a schedule's name is {show(name)}; it must be 1 to 100 letters, digits, '.', '_' or '-', such as "
            "'nightly-digest'"
        )
    unknown = options.keys() - ScheduleOptions.__annotations__.keys()
    if unknown:
        known = sorted(ScheduleOptions.__annotations__)
        option = min(unknown)
        raise TypeError(
            f"a schedule has no option {option!r}.{nearest(option, known)} It knows: {', '.join(known)}"
        )
    timing = checked_timing(name, options.get("cron"), options.get("every"), options.get("timezone"))
    overlap = options.get("overlap", "skip")
    if overlap not in [*Overlap]:
        words = ", ".join(map(repr, map(str, Overlap)))
        raise ScheduleError(f"schedule {name!r}: overlap is {show(overlap)}; it must be one of {words}")
    catch_up = _checked_catch_up(name, options.get("catch_up", 1), Overlap(overlap))
    window = _checked_window(name, options.get("catch_up_window", timedelta(days=1)))
    tenant = options.get("tenant")
    if tenant is not None and not (isinstance(tenant, str) and 0 < len(tenant) <= 255 and tenant.isprintable()):
        raise ScheduleError(
            f"schedule {name!r}: tenant is {show(tenant)}; it must be 1 to 255 printable characters"
        )
    return Declared(name, canvas, timing, catch_up, window, Overlap(overlap), tenant)


def _checked_catch_up(name: str, catch_up: object, overlap: Overlap) -> int:
    most = MOST_CAUGHT_UP if catch_up == "all" else catch_up
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_CAUGHT_UP:
        raise ScheduleError(
            f"schedule {name!r}: catch_up is {show(catch_up)}; it must be the number of missed ticks that are to "
            f"start a workflow, from 0 to {MOST_CAUGHT_UP}, or 'all' for that number"
        )
    if most > 1 and overlap is not Overlap.ALLOW:
        raise ScheduleError(
            f"schedule {name!r}: catch_up is {show(catch_up)} and overlap is {str(overlap)!r}: what is caught up "
            "starts at one time, side by side; say overlap='allow', or catch_up=1"
        )
    return most


def _checked_window(name: str, window: object) -> float:
    if not isinstance(window, timedelta) or not ON_TIME <= window <= LONGEST_WINDOW:
        raise ScheduleError(
            f"schedule {name!r}: catch_up_window is {show(window)}; it must be a timedelta from "
            f"{ON_TIME.seconds} s to {LONGEST_WINDOW.days} days"
        )
    return window.total_seconds()


def _difference(before: Declared, new: Declared) -> str:
    fields = ("canvas", "timing", "catch_up", "catch_up_window", "overlap")
    return next(name for name in fields if getattr(before, name) != getattr(new, name))
