"""Ticks: the times at which a schedule starts workflows, and those of them that are due.

A cron text is read in a time zone, by the rules of Debian's cron: of a fixed hour, a time that the clock skips
comes at the end of the gap, and one that it repeats comes once; of ``*`` hours or minutes, each time comes as
often as the clock shows it. Intervals count from the beginning of 1970 in UTC.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from agentq.exceptions import ScheduleError, nearest
from agentq.redaction import show

LONGEST_EVERY = timedelta(days=366)
ON_TIME = timedelta(seconds=60)
"""The age up to which the newest tick starts a workflow, also where none is caught up."""
MOST_MISSED = 10_000
"""The number of missed ticks of a cron text up to which they are counted, at one time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = "minute, hour, day of the month, month, day of the week"


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of a schedule: a cron text in a time zone, or a whole number of seconds between two ticks."""

    cron: str | None
    every: int | None
    timezone: str = "UTC"

    def after(self, time: datetime) -> datetime:
        """Return the first tick after *time*, in UTC. Raises ScheduleError where none comes in 50 years."""
        for tick in self.following(time):
            return tick
        raise ScheduleError(f"the cron text {self.cron!r} never comes: no day has all that it asks for")

    def between(self, first: datetime, last: datetime) -> Iterator[datetime]:
        """Give the ticks from *first* on, up to *last*, both included."""
        for tick in self.following(first - timedelta(microseconds=1)):
            if tick > last:
                return
            yield tick

    def count(self, first: datetime, last: datetime) -> int:
        """Return how many ticks are between two times, those of a cron text up to MOST_MISSED."""
        if last < first:
            return 0
        if self.every is not None:
            begin = -(-(first - _EPOCH) // timedelta(seconds=self.every))
            return (last - _EPOCH) // timedelta(seconds=self.every) - begin + 1
        return sum(1 for _ in islice(self.between(first, last), MOST_MISSED))

    def following(self, time: datetime) -> Iterator[datetime]:
        """Give the ticks after *time*, in UTC."""
        if self.every is not None:
            period = timedelta(seconds=self.every)
            tick = _EPOCH + ((time - _EPOCH) // period + 1) * period
            while True:
                yield tick
                tick += period
        assert self.cron is not None
        zone = zone_of(self.timezone)
        if any(part.startswith("*") for part in self.cron.split()[:2]):
            yield from _by_clock(self.cron, zone, time)
            return
        last = time
        for found in CronSim(self.cron, time.astimezone(zone)):
            tick = found.astimezone(UTC)
            # In an hour that comes twice, a fixed time is found again; and all times of a gap come at its end.
            if tick > last:
                yield tick
                last = tick


def _by_clock(cron: str, zone: tzinfo, time: datetime) -> Iterator[datetime]:
    """Give the ticks of a cron text with a star: each time that the clock of the zone shows.

    CronSim goes by whole hours over a change of the clock, which some zones change by half an hour. So it is asked
    for the times of one offset alone.
    """
    offset, change = _offset(zone, time), None
    while True:
        for found in CronSim(cron, time.astimezone(timezone(offset))):
            tick = found.astimezone(UTC)
            change = _change(zone, time, tick, offset)
            if change is not None:
                break
            time = tick
            yield tick
        if change is None:
            return
        time, offset, change = change - timedelta(seconds=1), _offset(zone, change), None


def _change(zone: tzinfo, first: datetime, last: datetime, offset: timedelta) -> datetime | None:
    """Return the first time from *first* to *last* at which the zone has another offset, or None."""
    while first < last:
        day = min(first + timedelta(days=1), last)
        if _offset(zone, day) != offset:
            while day - first > timedelta(seconds=1):
                middle = first + (day - first) / 2
                first, day = (first, middle) if _offset(zone, middle) != offset else (middle, day)
            return day.replace(microsecond=0)
        first = day
    return None


def _offset(zone: tzinfo, time: datetime) -> timedelta:
    return time.astimezone(zone).utcoffset() or timedelta()


@dataclass(frozen=True, slots=True)
class Due:
    """The ticks that are due: those that start a workflow, oldest first, and how the schedule goes on."""

    ticks: tuple[datetime, ...]
    missed: int
    """The number of ticks that are due and start nothing."""
    next_at: datetime


def due(timing: Timing, next_at: datetime, now: datetime, catch_up: int, window: timedelta) -> Due:
    """Say what is to be done at *now* about a schedule whose next tick was *next_at*, which has come.

    The newest *catch_up* ticks within the *window* start a workflow; where none is caught up, the newest one,
    if it came just now.
    """
    begin = max(next_at, now - (window if catch_up else ON_TIME))
    most = max(catch_up, 1)
    if timing.every is not None:  # there may be millions
        begin = max(begin, now - most * timedelta(seconds=timing.every))
    ticks = deque(timing.between(begin, now), maxlen=most)
    missed = timing.count(next_at, ticks[0] if ticks else now) - bool(ticks)
    return Due(tuple(ticks), missed, timing.after(now))


def checked_timing(name: str, cron: object, every: object, zone: object) -> Timing:
    """Return the timing of schedule *name*, from what a person gave.

    Raises ScheduleError for what makes no sense.
    """
    of = f"schedule {name!r}"
    if (cron is None) == (every is None):
        found = "neither cron nor every" if cron is None else "both cron and every"
        raise ScheduleError(f"{of} has {found}; give one: cron='30 2 * * *', or every=timedelta(minutes=10)")
    if every is not None:
        return Timing(None, _checked_every(of, every, zone))
    zone = "UTC" if zone is None else zone
    if not isinstance(zone, str) or not _is_zone(zone):
        raise ScheduleError(f"{of}: timezone is {show(zone)}, which is none that is known here.{_near_zone(zone)}")
    if not isinstance(cron, str) or len(cron) > 100 or len(cron.split()) != 5:
        raise ScheduleError(f"{of}: cron is {show(cron)}; it must be text of five fields, {_FIELDS}: '30 2 * * *'")
    timing = Timing(" ".join(cron.split()), None, zone)
    try:
        timing.after(datetime.now(UTC))
    except CronSimError as error:
        word = str(error)
        raise ScheduleError(
            f"{of}: cron is {cron!r}: {word[:1].lower()}{word[1:]}; its fields are {_FIELDS}, such as '30 2 * * *'"
        ) from None
    except ScheduleError as error:
        raise ScheduleError(f"{of}: {error}") from None
    return timing


def _checked_every(of: str, every: object, zone: object) -> int:
    if not isinstance(every, timedelta):
        raise ScheduleError(f"{of}: every is {show(every)}; it must be a timedelta: every=timedelta(minutes=10)")
    if every % timedelta(seconds=1) or not timedelta(seconds=1) <= every <= LONGEST_EVERY:
        raise ScheduleError(
            f"{of}: every is {every}; it must be whole seconds, from 1 s to {LONGEST_EVERY.days} days"
        )
    if zone is not None:
        raise ScheduleError(f"{of}: every counts in UTC, so a timezone has no meaning; leave it out, or give cron")
    return every // timedelta(seconds=1)


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name; raises ScheduleError where this machine does not know it."""
    if name == "UTC":
        return UTC  # which is known where no database of zones is
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"no time zone {show(name)} is known here.{_near_zone(name)}") from None


def _is_zone(name: str) -> bool:
    try:
        zone_of(name)
    except ScheduleError:
        return False
    return True


def _near_zone(name: object) -> str:
    known = available_timezones()
    if not known:
        return " This machine has no database of time zones; install the package tzdata"
    near = nearest(str(name), known) or nearest(str(name).title(), known)
    return near or " It is one of the IANA names, such as 'Europe/Berlin'"
