"""Durations, and numbers in a time, as people write them: ``15m``, ``500/60``."""

from __future__ import annotations

import re

_DURATION = r"(\d+(?:\.\d+)?) ?([smhd]?)"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration(text: str) -> float | None:
    """Return the seconds of a duration such as 90s, 15m, 12h or 30d; a number alone is seconds. Else None."""
    found = re.fullmatch(_DURATION, text, re.ASCII)
    return float(found[1]) * _UNITS[found[2]] if found else None


def number_in_time(text: str) -> tuple[int, float] | None:
    """Return number and seconds of a meter such as 500/60 or 500/1m. Else None."""
    number, _, period = text.partition("/")
    seconds = duration(period)
    return (int(number), seconds) if re.fullmatch(r"\d+", number, re.ASCII) and seconds is not None else None
