"""Ticks: times of cron texts in their zones, of intervals, and what is done about those that are due."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import islice, product
from zoneinfo import ZoneInfo

import pytest

from agentq.exceptions import ScheduleError
from agentq.policies.ticks import MOST_MISSED, Due, Timing, checked_timing, due

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca")
"""Zones whose clocks change at 2:00, by half an hour, at midnight, and by the moon."""
YEARS = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))
FIXED = {
    "30 2 * * *": ([30], [2]),
    "0 3 * * *": ([0], [3]),
    "15,45 0-3 * * *": ([15, 45], [0, 1, 2, 3]),
    "30 0 * * *": ([30], [0]),
    "0 23 * * *": ([0], [23]),
}
"""Cron texts of fixed hours and minutes, with both."""
STARRED = {
    "0 * * * *": ([0], range(24)),
    "*/15 * * * *": (range(0, 60, 15), range(24)),
    "*/20 2 * * *": (range(0, 60, 20), [2]),
}
"""Cron texts with a star, which follow the clock."""
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def transitions(zone: str) -> list[datetime]:
    """The hours of the years in which the clock of a zone is changed."""
    at, found, known = YEARS[0], [], ZoneInfo(zone)
    while at < YEARS[1]:
        if at.astimezone(known).utcoffset() != (at + HOUR).astimezone(known).utcoffset():
            found.append(at)
        at += HOUR
    return found


def debian(cron: str, zone: str, first: datetime, last: datetime) -> list[datetime]:
    """The ticks between two times as Debian's cron has them, found minute by minute."""
    known, found = ZoneInfo(zone), set()
    minutes, hours = (FIXED | STARRED)[cron]
    if cron in STARRED:
        at = first
        while at <= last:
            clock = at.astimezone(known)
            if clock.minute in minutes and clock.hour in hours:
                found.add(at)
            at += MINUTE
        return sorted(found)
    day = (first - DAY).astimezone(known).date()
    while day <= (last + DAY).astimezone(known).date():
        for hour, minute in product(hours, minutes):
            clock = datetime(day.year, day.month, day.day, hour, minute, tzinfo=known)
            at = clock.astimezone(UTC)
            while at.astimezone(known).replace(tzinfo=None) != clock.replace(tzinfo=None):  # it is skipped
                clock += MINUTE
                at = clock.replace(tzinfo=None).replace(tzinfo=known).astimezone(UTC)
            found.add(at)
        day += DAY
    return [at for at in sorted(found) if first <= at <= last]


@pytest.mark.parametrize("zone", ZONES[:2])
@pytest.mark.parametrize("cron", [*FIXED, *STARRED])
def test_ticks_around_a_change_of_the_clock_are_those_of_debian(zone: str, cron: str) -> None:
    for change in transitions(zone)[:2]:
        require_debian(zone, cron, change, 7)


@pytest.mark.long
@pytest.mark.parametrize("zone", ZONES)
def test_ticks_around_each_change_of_three_years_are_those_of_debian(zone: str) -> None:
    changes = transitions(zone)
    assert len(changes) >= 6
    for change, cron in product(changes, [*FIXED, *STARRED]):
        require_debian(zone, cron, change, 1)


def require_debian(zone: str, cron: str, change: datetime, step: int) -> None:
    """Compare the ticks of three days, and the next one after each *step* minutes of them."""
    timing = Timing(cron, None, zone)
    first, last = change - DAY, change + DAY
    wanted = debian(cron, zone, first, last + 2 * DAY)
    assert list(timing.between(first, last + 2 * DAY)) == wanted
    at = change - 4 * HOUR
    while at < change + 4 * HOUR:
        assert timing.after(at) == wanted[bisect_right(wanted, at)], at
        at += step * MINUTE


def test_a_time_that_the_clock_skips_comes_at_the_end_of_the_gap_and_once() -> None:
    berlin = Timing("15,45 2 * * *", None, "Europe/Berlin")
    ticks = list(islice(berlin.following(datetime(2026, 3, 29, 0, tzinfo=UTC)), 2))
    assert ticks == [datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 30, 0, 15, tzinfo=UTC)]


def test_a_time_that_the_clock_repeats_comes_once_whenever_it_is_asked_for() -> None:
    berlin = Timing("30 2 * * *", None, "Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert berlin.after(first - MINUTE) == first
    for asked in (first, first + 20 * MINUTE, first + 50 * MINUTE, first + 70 * MINUTE):
        assert berlin.after(asked) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_intervals_count_from_1970_whenever_they_are_asked_for() -> None:
    ten = Timing(None, 600)
    assert ten.after(NOON + timedelta(seconds=1)) == NOON + 10 * MINUTE
    assert ten.after(NOON) == NOON + 10 * MINUTE
    assert ten.count(NOON, NOON + HOUR) == 7
    assert ten.count(NOON, NOON - MINUTE) == 0


class TestDue:
    def test_the_newest_tick_starts_and_those_before_it_are_missed(self) -> None:
        found = due(Timing(None, 60), NOON, NOON + 10 * MINUTE, 1, DAY)
        assert found == Due((NOON + 10 * MINUTE,), 10, NOON + 11 * MINUTE)

    @pytest.mark.parametrize("timing", [Timing(None, 60), Timing("* * * * *", None)])
    def test_as_many_as_are_caught_up_start_in_their_order(self, timing: Timing) -> None:
        found = due(timing, NOON, NOON + 10 * MINUTE, 3, DAY)
        assert found.ticks == tuple(NOON + age * MINUTE for age in (8, 9, 10))
        assert found.missed == 8

    @pytest.mark.parametrize("timing", [Timing(None, 60), Timing("* * * * *", None)])
    def test_the_window_leaves_out_what_is_older(self, timing: Timing) -> None:
        found = due(timing, NOON, NOON + 10 * MINUTE, 1000, 2 * MINUTE)
        assert found.ticks == tuple(NOON + age * MINUTE for age in (8, 9, 10))
        assert found.missed == 8

    def test_where_none_is_in_the_window_all_are_missed(self) -> None:
        found = due(Timing("0 12 * * *", None), NOON, NOON + 5 * HOUR, 1, HOUR)
        assert found == Due((), 1, NOON + DAY)

    def test_without_catch_up_a_tick_of_this_minute_starts(self) -> None:
        timing = Timing("0 12 * * *", None)
        assert due(timing, NOON, NOON + timedelta(seconds=50), 0, DAY).ticks == (NOON,)
        assert due(timing, NOON, NOON + timedelta(seconds=70), 0, DAY) == Due((), 1, NOON + DAY)

    def test_a_year_of_minutes_is_counted_as_far_as_is_quick(self) -> None:
        found = due(Timing("* * * * *", None), NOON - 365 * DAY, NOON, 1, DAY)
        assert found.ticks == (NOON,)
        assert found.missed in (MOST_MISSED, MOST_MISSED - 1)


class TestBadInput:
    @pytest.mark.parametrize(
        ("cron", "every", "zone", "words"),
        [
            (None, None, None, "neither cron nor every"),
            ("0 * * * *", MINUTE, None, "both cron and every"),
            ("0 0 30 2 *", None, None, "day-of-month"),
            ("61 * * * *", None, None, "bad minute"),
            ("* * * *", None, None, "five fields"),
            ("* * * * * *", None, None, "five fields"),
            (7, None, None, "five fields"),
            ("0 * * * *", None, "Europe/Berln", "Did you mean 'Europe/Berlin'"),
            ("0 * * * *", None, "europe/berlin", "Did you mean 'Europe/Berlin'"),
            ("0 * * * *", None, "../etc", "none that is known here"),
            ("0 * * * *", None, 7, "none that is known here"),
            (None, timedelta(milliseconds=500), None, "whole seconds, from 1 s"),
            (None, timedelta(seconds=1.5), None, "whole seconds"),
            (None, timedelta(days=400), None, "366 days"),
            (None, 60, None, "timedelta"),
            (None, MINUTE, "Europe/Berlin", "counts in UTC"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_its_value(
        self, cron: object, every: object, zone: object, words: str
    ) -> None:
        with pytest.raises(ScheduleError, match=words) as refused:
            checked_timing("digest", cron, every, zone)
        assert "'digest'" in str(refused.value)

    def test_an_unknown_zone_of_a_row_says_so(self) -> None:
        with pytest.raises(ScheduleError, match="no time zone 'Mars/Base'"):
            Timing("0 * * * *", None, "Mars/Base").after(NOON)
