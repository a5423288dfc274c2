"""Bad input to a policy, refused where it is written: each says what, which value, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from agentq.exceptions import StepDefinitionError, nearest
from agentq.redaction import show

E = TypeVar("E", bound=StrEnum)


def refusal(message: str) -> StepDefinitionError:
    """Return the error that every bad policy raises."""
    return StepDefinitionError(message)


def a_number(what: str, value: object, *, least: float = 0.0, most: float = math.inf) -> float:
    """Return *value* where it is a finite number in the bounds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal(f"{what} is {show(value)}, must be a number")
    if not math.isfinite(value):
        raise refusal(f"{what} is {value!r}: every policy has a bound; give a finite number")
    if not least <= value <= most:
        upper = f" to {most:g}" if math.isfinite(most) else " or more"
        raise refusal(f"{what} is {value!r}, must be {least:g}{upper}")
    return float(value)


def a_count(what: str, value: object, *, least: int = 0, most: int = 1001) -> int:
    """Return *value* where it is a whole number in the bounds."""
    if value is None:
        raise refusal(f"{what} is None: every policy has a bound; give a number from {least} to {most}")
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refusal(f"{what} is {show(value)}, must be a whole number from {least} to {most}")
    return value


def a_word(what: str, value: object, words: type[E]) -> E:
    """Return the member of an enumeration that *value* names."""
    try:
        return words(str(value))
    except ValueError:
        raise unknown(what, value, words) from None


def unknown(what: str, value: object, known: Iterable[str]) -> StepDefinitionError:
    """Return the refusal of a name that does not exist, with the nearest one that does."""
    names = [str(name) for name in known]
    near = nearest(value, names) if isinstance(value, str) else ""
    return refusal(f"unknown {what} {show(value)}.{near} Known: {', '.join(names)}.")
