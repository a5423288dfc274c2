"""Bytes in JSON: those that are UTF-8 text as that text, others in base64 behind a mark."""

from __future__ import annotations

import base64
import copy
from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

MARK = "agentq-base64:"


def marked(value: Any, *, also_text: bool = False) -> Any:
    """Return *value* with the bytes that are no text, or *also_text* all, in base64 behind the mark."""

    def of(part: Any) -> Any:
        if isinstance(part, bytes):
            return _marked(part) if also_text or not _is_text(part) else part
        if isinstance(part, BaseModel):
            changed = _changed(part, type(part).model_fields, of)
            return part.model_copy(update=changed) if changed else part
        if is_dataclass(part) and not isinstance(part, type):
            return _replaced(part, _changed(part, [field.name for field in fields(part)], of))
        if isinstance(part, dict):
            items = [(of(key), of(item)) for key, item in part.items()]
            return part if all(map(_same, items, part.items())) else dict(items)
        if isinstance(part, (list, tuple, set, frozenset, deque)):
            parts = [of(item) for item in part]
            return (
                part if all(one is other for one, other in zip(parts, part, strict=True)) else _made(part, parts)
            )
        return part

    return of(value)


def restored(value: Any) -> Any:
    """Return JSON-able data with what is behind the mark as the bytes that it was."""
    if isinstance(value, str) and value.startswith(MARK):
        return base64.b64decode(value[len(MARK) :], validate=True)
    if isinstance(value, dict):
        return {restored(key): restored(item) for key, item in value.items()}
    return [restored(item) for item in value] if isinstance(value, list) else value


def _marked(value: bytes) -> bytes:
    return MARK.encode() + base64.b64encode(value)


def _is_text(value: bytes) -> bool:
    """Say whether JSON keeps these bytes as a text, which no database refuses."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return "\x00" not in text and not text.startswith(MARK)


def _changed(value: Any, names: Iterable[str], of: Any) -> dict[str, Any]:
    parts = [(name, getattr(value, name, None)) for name in names]
    marked_parts = [(name, part, of(part)) for name, part in parts]
    return {name: new for name, part, new in marked_parts if new is not part}


def _replaced(value: Any, changed: dict[str, Any]) -> Any:
    if not changed:
        return value
    new = copy.copy(value)
    for name, part in changed.items():
        object.__setattr__(new, name, part)  # also of a frozen one
    return new


def _made(value: Any, parts: list[Any]) -> Any:
    make = getattr(type(value), "_make", type(value))  # of a named tuple
    return make(parts)


def _same(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return one[0] is other[0] and one[1] is other[1]
