"""Reading what cannot be trusted: an exception's attributes may be anything, raise, or never end."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

MOST_CLASSES = 40
_LONGEST_NAME = 200
_MOST_HEADERS = 200
_LONGEST_JSON = 65_536
_STOP_CODES = frozenset(number - 256 for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM))


def safely(default: T, read: Callable[..., T], *args: object) -> T:
    """Return ``read(*args)``, or *default* where it raises; only the stop of the pool's process goes through."""
    try:
        return read(*args)
    except BaseException as error:
        if is_stop(error):
            raise
        return default


def is_stop(error: BaseException) -> bool:
    """Say whether the pool ends this process: billiard turns its signals into exits of a code of its own."""
    return is_a(error, SystemExit) and whole(attribute(error, "code")) in _STOP_CODES


def classed(error: BaseException) -> BaseException:
    """Return *error*, or one that names its type where its ``__class__``, which ``isinstance`` reads, raises."""
    if attribute(error, "__class__") is not None:
        return error
    replacement = TypeError(f"a {type(error).__qualname__} was raised, and its __class__ cannot be read")
    return replacement.with_traceback(error.__traceback__)


def first_known(*values: T | None) -> T | None:
    """Return the first value that is not None; unlike ``or``, does not ask the values."""
    return next((value for value in values if value is not None), None)


def attribute(thing: object, name: str) -> Any:
    """Return an attribute, or None where there is none or reading it raises."""
    return safely(None, getattr, thing, name, None)


def is_a(value: object, *kinds: type) -> bool:
    """``isinstance`` that does not ask the value itself, whose ``__class__`` may raise or lie."""
    return issubclass(type(value), kinds)


def text_of(value: object, limit: int = _LONGEST_NAME) -> str | None:
    """Return the first *limit* characters of a string as a plain ``str``; None where it is no string."""
    return str.__getitem__(value, slice(limit)) if is_a(value, str) and isinstance(value, str) else None


def message_of(error: BaseException, limit: int) -> str:
    """Return the first *limit* characters of an exception's text, whatever its ``__str__`` does."""
    try:
        return text_of(str(error), limit) or ""
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as broken:
        return f"<its text cannot be shown: __str__ raises {type(broken).__name__}>"


def whole(value: object) -> int | None:
    """Return a whole number as a plain ``int``; None for anything else, a bool too."""
    if is_a(value, int) and isinstance(value, int) and not is_a(value, bool):
        return int.__index__(value)
    return None


def seconds(value: object) -> float | None:
    """Return a duration (a number, its text, or a timedelta) in seconds; None where it is none, or below 0."""
    number = safely(None, _number, value)
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _number(value: object) -> float | None:
    if is_a(value, bool):
        return None
    if is_a(value, timedelta) and isinstance(value, timedelta):
        return value.total_seconds()
    text = text_of(value, 40)
    if text is not None:
        return float(text)
    return float(value) if is_a(value, int, float) and isinstance(value, (int, float)) else None


def class_name(kind: type) -> str:
    """Return the qualified name of a class, without ``builtins``."""
    module = text_of(attribute(kind, "__module__")) or "?"
    name = text_of(attribute(kind, "__qualname__")) or text_of(attribute(kind, "__name__")) or "?"
    return name if module == "builtins" else f"{module}.{name}"


def class_names(error: BaseException) -> tuple[str, ...]:
    """Return the qualified names of an exception's classes, the most derived first."""
    classes = type.__dict__["__mro__"].__get__(type(error))
    return tuple(class_name(kind) for kind in classes[:MOST_CLASSES] if kind is not object)


def cause_of(error: BaseException) -> BaseException | None:
    """Return what the exception was raised from."""
    cause = attribute(error, "__cause__")
    return cause if is_a(cause, BaseException) and isinstance(cause, BaseException) else None


def causes_of(error: BaseException, most: int = 8) -> list[BaseException]:
    """Return the exception and what it was raised from, at most *most*, each once."""
    chain = [error]
    while len(chain) < most:
        cause = cause_of(chain[-1])
        if cause is None or any(cause is seen for seen in chain):
            break
        chain.append(cause)
    return chain


def members_of(error: BaseException, most: int = 32) -> list[BaseException]:
    """Return the exceptions in an exception group, of nested ones too, at most *most*."""
    found: list[BaseException] = []
    groups: list[BaseException] = [error]
    for _ in range(most):
        if not groups or len(found) >= most:
            break
        group = groups.pop(0)
        inner = attribute(group, "exceptions") if isinstance(group, BaseExceptionGroup) else None
        for member in entries(list(inner), most) if is_a(inner, tuple) and isinstance(inner, tuple) else []:
            if is_a(member, BaseException):
                (groups if is_a(member, BaseExceptionGroup) else found).append(member)
    return found[:most]


def lower_headers(*sources: object) -> dict[str, str]:
    """Return headers by lower-case name, from anything that lists pairs; the first source of a name wins."""
    found: dict[str, str] = {}
    for source in sources:
        none: list[tuple[object, object]] = []
        for name, value in safely(none, _pairs, source):
            key, text = text_of(name), text_of(value)
            if key is not None and text is not None:
                found.setdefault(key.lower(), text.strip())
    return found


def _pairs(source: Any) -> list[tuple[object, object]]:
    if source is None or is_a(source, str, bytes):
        return []
    listed = source.items() if hasattr(source, "items") else source
    return [(name, value) for name, value in islice(listed, _MOST_HEADERS)]


def entry(thing: object, *path: str) -> Any:
    """Return what nested mappings hold at *path*, or None."""
    for name in path:
        if not is_a(thing, dict):
            return None
        thing = safely(None, dict.get, thing, name)
    return thing


def entries(thing: object, most: int = 20) -> list[Any]:
    """Return the first items of a list, or none where it is no list."""
    return list.__getitem__(thing, slice(most)) if is_a(thing, list) and isinstance(thing, list) else []


def parsed(value: object) -> Any:
    """Return a body as data: JSON text is read where it is short, the one item of a list is taken."""
    if is_a(value, bytes, bytearray) or is_a(value, str):
        value = safely(None, _json, value)
    if is_a(value, list):
        value = next(iter(entries(value, 1)), None)
    return value if is_a(value, dict) else None


def _json(value: Any) -> Any:
    if len(value) > _LONGEST_JSON or value[:64].lstrip()[:1] not in ("{", "[", b"{", b"["):
        return None
    return json.loads(value)
