"""The provider's own time for the next try: from headers, dates, bodies, and as a last resort its sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from agentq.policies.errors.categories import Category
from agentq.policies.errors.signs import ExceptionView
from agentq.policies.errors.untrusted import entries, entry, first_known, is_a, safely, seconds, text_of

_LONGEST = 366 * 86_400.0
_EPOCH_AFTER = 1_000_000_000.0
"""A reset over this is a time since 1970, not a duration."""

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milliseconds?|h|hours?|m|min|minutes?|s|sec|seconds?)(?![a-z])")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_SENTENCE = re.compile(r"(?:try again|retry|retrying) (?:in|after) ((?:\d+(?:\.\d+)?\s*(?:[a-z]+)\s*){1,3})")
_RESET = re.compile(
    r"(?:x-)?(?:[a-z]+-)?rate-?limit(?:-(?P<of>[a-z-]+))?-reset|x-ratelimit-reset-(?P<over>[a-z-]+)"
)


def retry_after(view: ExceptionView, category: Category | None, now: float) -> float | None:
    """Return the seconds after which the provider wants to be asked again; None where it did not say.

    Args:
        view: the exception, as policies see it.
        category: its classification. What is left of a quota counts only where a rate limit is the problem.
        now: the wall clock, for a time of day that comes without the provider's own ``Date``.
    """
    found = _explicit(view, now)
    if found is None and category is Category.RATE_LIMIT:
        found = _reset(view.headers, now)
        found = _sentence(view.text) if found is None else found
    return None if found is None else min(found, _LONGEST)


def _explicit(view: ExceptionView, now: float) -> float | None:
    headers = view.headers
    for name in ("retry-after-ms", "x-amz-retry-after"):
        milliseconds = seconds(headers.get(name))
        if milliseconds is not None:
            return milliseconds / 1000
    found = seconds(headers.get("retry-after"))
    if found is None and "retry-after" in headers:
        found = _until(headers["retry-after"], headers.get("date"), now)
    if found is None:
        found = next(_retry_infos(view.body), None)
    return seconds(view.retry_after) if found is None else found


def _until(date: str, today: str | None, now: float) -> float | None:
    """Return the seconds until an HTTP date, by the clock of its sender where that is known."""
    then, sent = _http_date(date), _http_date(today) if today else None
    return None if then is None else max(0.0, then - (now if sent is None else sent))


def _http_date(text: str) -> float | None:
    date = safely(None, parsedate_to_datetime, text)
    return None if date is None else safely(None, _timestamp, date)


def _timestamp(date: datetime) -> float:
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _retry_infos(body: object) -> Iterator[float]:
    """Google's google.rpc.RetryInfo: "12s", or seconds and nanos."""
    for part in (entry(body, "error"), body):
        for detail in entries(entry(part, "details")):
            delay = first_known(entry(detail, "retryDelay"), entry(detail, "retry_delay"))
            parts = (seconds(entry(delay, "seconds")), seconds(entry(delay, "nanos")))
            retry_after = (
                (parts[0] or 0.0) + (parts[1] or 0.0) / 1e9 if is_a(delay, dict) else _duration(text_of(delay))
            )
            if retry_after is not None:
                yield retry_after


def _duration(text: str | None) -> float | None:
    """Read "12s", "1m30.5s", "20ms", "2 minutes"."""
    found = _PART.findall(text or "")
    if not found:
        return None
    return sum(
        float(number) * (0.001 if unit[:2] in ("ms", "mi") and unit[:3] != "min" else _UNITS[unit[0]])
        for number, unit in found
    )


def _reset(headers: dict[str, str], now: float) -> float | None:
    """Return when the limits that are used up are free again; of all limits where none says that it is."""
    resets: dict[str, float] = {}
    for name, value in headers.items():
        match = _RESET.fullmatch(name)
        delay = _until_reset(value, now) if match else None
        if delay is not None:
            resets[name] = delay
    used_up = [value for name, value in resets.items() if headers.get(name.replace("reset", "remaining")) == "0"]
    return max(used_up or resets.values(), default=None)


def _until_reset(text: str, now: float) -> float | None:
    number = seconds(text)
    if number is None:
        number = _duration(text)
    if number is None:
        date = safely(None, datetime.fromisoformat, text)
        then = None if date is None else safely(None, _timestamp, date)
        return None if then is None else max(0.0, then - now)
    if number > _EPOCH_AFTER * 1000:
        number /= 1000
    return max(0.0, number - now) if number > _EPOCH_AFTER else number


def _sentence(text: str) -> float | None:
    match = _SENTENCE.search(text)
    return _duration(match[1]) if match else None
