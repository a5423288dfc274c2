"""The plain functions that every canvas case is made of.

They are pure, and each shows in its result what it was given and in which order.
"""

import time
from collections.abc import Callable
from typing import Any


def add(x: int, y: int) -> int:
    return x + y


def mul(x: int, y: int) -> int:
    return x * y


def double(x: int) -> int:
    return 2 * x


def total(numbers: list[int]) -> int:
    return sum(numbers)


def upto(n: int) -> list[int]:
    return list(range(n))


def swap(a: Any, b: Any) -> list[Any]:
    return [b, a]


def identity(value: Any) -> Any:
    return value


def nothing(*args: Any) -> None:
    """Return None whatever it is given."""


def concat(*parts: Any) -> str:
    """Join the parts with dashes; a list reads ``(a+b)``."""
    return "-".join(_text(part) for part in parts)


def _text(part: Any) -> str:
    return f"({'+'.join(map(_text, part))})" if isinstance(part, list) else str(part)


def keep_kwargs(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def echo(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": list(args), "kwargs": kwargs}


def slow(value: Any, seconds: float = 0.15) -> Any:
    """Return ``value`` late, so that the next one finishes first."""
    time.sleep(seconds)
    return value


def fail(*args: Any) -> None:
    raise ValueError(f"fail was called with {list(args)}")


FUNCTIONS: tuple[Callable[..., Any], ...] = (
    add,
    mul,
    double,
    total,
    upto,
    swap,
    identity,
    nothing,
    concat,
    keep_kwargs,
    echo,
    slow,
    fail,
)
