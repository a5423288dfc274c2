"""The comparison of two values in type and in all their fields, stricter than ``==``."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from decimal import Decimal
from enum import Enum
from inspect import getattr_static
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

_WHOLES = (BaseModel, dict, list, tuple, set, frozenset, deque)
Difference = tuple[str, Any, Any]
"""The path to what differs, and both values there."""
ABSENT: Any = object()
"""Stands for an attribute that one of both does not have."""


def difference(first: Any, second: Any, path: str = "") -> Difference | None:
    """Return where *first* and *second* differ; None where they are the same."""
    if type(first) is not type(second):
        return path, first, second
    if first is second:
        return None
    parts = _parts(first)
    if parts is None:
        return None if _is_equal(first, second) else (path, first, second)
    others = _parts(second) or []
    if [name for name, _ in parts] != [name for name, _ in others]:
        return _unpaired(first, second, path) or (path, first, second)
    for (name, part), (_, other) in zip(parts, others, strict=True):
        found = difference(part, other, f"{path}.{name}")
        if found is not None:
            return found
    return None


def at(path: str) -> str:
    """Return the words for a path."""
    return f"the value at {path.lstrip('.')}" if path else "it"


def first_lost(given: Any, valid: Any) -> str | None:
    """Return the words for what validation dropped from *given*: keys of a dict, fields of a subclass."""
    for path, one, other in _pairs(given, valid):
        if isinstance(one, dict) and isinstance(other, dict) and len(one) > len(other):
            return f"a key of {at(path)}"
        has_fields = isinstance(other, BaseModel) or is_dataclass(other) or hasattr(other, "_fields")
        if has_fields and isinstance(one, type(other)) and type(one) is not type(other):
            return f"what {type(one).__name__} adds to {type(other).__name__} in {at(path)}"
        unpaired = _unpaired(one, other, path) if type(one) is type(other) else None
        if unpaired is not None:
            return at(unpaired[0])
    return None


def first_secret(value: Any) -> str | None:
    """Return the path of the first of pydantic's secrets in a value; None where it has none."""
    stack, seen = [("", value)], set()
    while stack:
        path, part = stack.pop()
        if isinstance(part, Secret | SecretStr | SecretBytes):
            return path
        if isinstance(part, _WHOLES) or is_dataclass(part):
            if id(part) in seen:
                continue
            seen.add(id(part))
            stack += [(f"{path}.{name}", inner) for name, inner in _parts(part) or ()]
            stack += [(path, inner) for inner in part] if isinstance(part, (set, frozenset)) else []
    return None


def is_derived(cls: type, name: str) -> bool:
    """Say whether a class makes the attribute of this name itself, when it is asked for: a cached property."""
    maker = getattr_static(cls, name, None)
    return hasattr(maker, "__get__") and not callable(maker)


def in_order(value: Any, form: Any) -> Any:
    """Return the JSON *form* of *value* with the members of sets in an order that is the same in every process."""
    if isinstance(value, (set, frozenset)) and isinstance(form, list):
        # The members are not paired with their forms, which are in order themselves where they have no sets.
        inner = [in_order(*pair) for pair in zip(value, form, strict=True)] if len(value) == len(form) else form
        return sorted(inner, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, dict) and isinstance(form, dict) and len(value) == len(form):
        return {key: in_order(*pair) for key, *pair in zip(form, value.values(), form.values(), strict=True)}
    if isinstance(value, (list, tuple, deque)) and isinstance(form, list) and len(value) == len(form):
        return [in_order(*pair) for pair in zip(value, form, strict=True)]
    if isinstance(value, BaseModel) and not isinstance(form, dict):
        return in_order(getattr(value, "root", None), form)
    if isinstance(form, dict) and (isinstance(value, BaseModel) or is_dataclass(value)):
        return {name: in_order(getattr(value, name, None), part) for name, part in form.items()}
    return form


def _pairs(given: Any, valid: Any) -> Iterator[tuple[str, Any, Any]]:
    stack = [("", given, valid)]
    while stack:
        path, one, other = stack.pop()
        yield path, one, other
        if isinstance(one, dict) and isinstance(other, dict):
            stack += [(f"{path}.{key}", one[key], other[key]) for key in one.keys() & other.keys()]
        elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
            stack += [(f"{path}.{n}", *pair) for n, pair in enumerate(zip(one, other, strict=False))]


def _parts(value: Any) -> list[tuple[Any, Any]] | None:
    """Return the fields of a value that has any, each with its name; None for one without."""
    if isinstance(value, BaseModel):
        own = [(name, getattr(value, name, None)) for name in type(value).model_fields]
        hidden = {**(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
        return own + sorted(hidden.items()) + _beside(value)
    if is_dataclass(value):
        return [(field.name, getattr(value, field.name, None)) for field in fields(value)] + _beside(value)
    if isinstance(value, dict):
        keys = [(f"{type(key).__name__} {key!r}", key) for key in value]
        return [(name.partition(" ")[2] if isinstance(key, str) else name, value[key]) for name, key in keys]
    if isinstance(value, deque):
        return [*enumerate(value), ("maxlen", value.maxlen)]
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    if not _has_eq(value) and not isinstance(value, Enum):
        return sorted(getattr(value, "__dict__", {}).items())
    return None


def _unpaired(first: Any, second: Any, path: str) -> Difference | None:
    there = dict(_beside(second))
    lost = (pair for pair in _beside(first) if pair[0] not in there)
    return next(((f"{path}.{name}", part, ABSENT) for name, part in lost), None)


def _beside(value: Any) -> list[tuple[str, Any]]:
    """Return the attributes of a value that are no fields, without those that its class derives."""
    cls, held = type(value), getattr(value, "__dict__", {})
    names = cls.model_fields if isinstance(value, BaseModel) else ()
    names = {field.name for field in fields(value)} if is_dataclass(value) else names
    beside = {name for name in held.keys() - names if not is_derived(cls, name)}
    # What has no == of its own, such as a lock that __post_init__ makes, is as good as another one.
    return [(name, held[name] if _has_eq(held[name]) else type(held[name])) for name in sorted(beside)]


def _has_eq(value: Any) -> bool:
    return getattr(type(value), "__eq__", None) is not object.__eq__


def _is_equal(first: Any, second: Any) -> bool:
    if isinstance(first, float):
        both_nan = first != first and second != second
        return both_nan or (first == second and math.copysign(1, first) == math.copysign(1, second))
    if isinstance(first, Decimal):
        return str(first) == str(second)  # with its places
    if isinstance(first, (datetime, time)):
        is_folded = first.tzinfo is None and first.fold != second.fold
        return first == second and first.utcoffset() == second.utcoffset() and not is_folded
    if isinstance(first, (set, frozenset)):
        return {(type(item), item) for item in first} == {(type(item), item) for item in second}
    return bool(first == second)
