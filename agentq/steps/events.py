"""The reports of a running step: its progress, and events of its own kinds; small, and checked here."""

from __future__ import annotations

import math
import re
from typing import Any

from agentq.exceptions import InvalidValue
from agentq.redaction import clean
from agentq.steps.values.encoding import encode

PROGRESS = "progress"
MAX_DATA_BYTES = 4_096
"""Size limit of the data of one event, in bytes of JSON."""
LONGEST_MESSAGE = 200
"""Characters that are kept of a message."""

_KIND = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RESERVED = frozenset({PROGRESS, "error", "open"})
"""Agentq's own word, and those that a browser's ``EventSource`` has for its connection."""


def progress_data(done: float, total: float | None, message: str) -> str:
    """Return the JSON text of a progress; raises InvalidValue for numbers that are none."""
    for name, number in (("done", done), ("total", total)):
        if number is not None and not _is_amount(number):
            raise InvalidValue(f"progress({name}={number!r}): must be a finite number from 0 up")
    return encode({"done": done, "total": total, "message": clean(str(message), LONGEST_MESSAGE)}, MAX_DATA_BYTES)


def event_data(kind: str, data: Any) -> str:
    """Return the JSON text of an event's data.

    Raises InvalidValue for a kind that cannot be used or data that is not JSON, ValueTooLarge over the limit.
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or kind in _RESERVED:
        reserved = ", ".join(sorted(_RESERVED))
        raise InvalidValue(
            f"emit({kind!r}): a kind is a word of up to 64 small letters, digits, - and _, such as 'draft', "
            f"and none of: {reserved}"
        )
    try:
        return encode(data, MAX_DATA_BYTES)
    except InvalidValue as error:
        raise type(error)(f"emit({kind!r}): {_of_event(str(error))}") from None


def _of_event(fault: str) -> str:
    return fault.partition(", or raise agentq_max_value_bytes")[0]


def _is_amount(number: Any) -> bool:
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    return is_number and math.isfinite(number) and number >= 0
