"""The one boundary between Python values and the JSON text that the ledger keeps.

What is refused here is refused alike on every ledger: NaN and infinities, integers beyond 64 bits, NUL and lone
surrogates in text, sets and bytes without a type, and everything else that is not JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic_core import to_jsonable_python

from agentq.exceptions import InvalidValue, ValueTooLarge
from agentq.redaction import clean

MAX_DEPTH = 200
"""Levels of nesting that a value may have; deeper ones are refused, since readers recurse."""

SECRET = (
    "is a secret, which the ledger does not keep and JSON masks; pass its name and read it in the step, from the "
    "environment or a secret store"
)

_SUSPECT = re.compile(r"\\u0000|\d{19}")
_LIMIT = 2**63


def encode(value: Any, limit: int) -> str:
    """Return *value* as JSON text of at most *limit* bytes.

    Raises InvalidValue naming the path of what cannot be kept, ValueTooLarge naming the size.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_known_types)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError, InvalidValue) as error:
        raise InvalidValue(_first_fault(value) or _fault("", f"cannot be kept as JSON: {error}")) from None
    # Encoding is fast and has no ranges; only a suspicious text is walked.
    if _SUSPECT.search(text) or text.count("[") + text.count("{") > MAX_DEPTH:
        fault = _first_fault(json.loads(text))
        if fault:
            raise InvalidValue(fault)
    if size > limit:
        raise ValueTooLarge(
            f"is {size:,} bytes of JSON, over the limit of {limit:,}; keep large data in a store and pass a "
            "reference, or raise agentq_max_value_bytes"
        )
    return text


def plain(value: Any, limit: int) -> Any:
    """Return *value* as it will be read back: dicts, lists, texts, numbers, booleans and None only."""
    return json.loads(encode(value, limit))


def _known_types(value: Any) -> Any:
    if isinstance(value, (set, frozenset, bytes, bytearray, memoryview)):
        raise InvalidValue(type(value).__name__)
    if _has_secret(value):
        raise InvalidValue(SECRET)
    return to_jsonable_python(value, inf_nan_mode="constants")


def _has_secret(value: Any) -> bool:
    from agentq.steps.values.same import first_secret  # imports Pydantic, which values that are JSON do not need

    return first_secret(value) is not None


def _first_fault(value: Any) -> str | None:
    """Return the fault of the first bad value, with its path, or None."""
    for path, part, depth in _parts(value):
        fault = _fault_of(part) if depth <= MAX_DEPTH else f"is nested deeper than {MAX_DEPTH} levels"
        if fault:
            return _fault(path, fault)
    return None


def _fault(path: str, fault: str) -> str:
    return f"the value at {clean(path.lstrip('. '), 200) or 'the top'} {fault}"


def _parts(value: Any) -> Iterator[tuple[str, Any, int]]:
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    while stack:
        path, part, depth = stack.pop()
        yield path, part, depth
        if depth > MAX_DEPTH:
            continue
        if isinstance(part, dict):
            stack += [(f"{path} (a key)", key, depth + 1) for key in part]
            stack += [(f"{path}.{key}", item, depth + 1) for key, item in part.items()]
        elif isinstance(part, (list, tuple)):
            stack += [(f"{path}[{index}]", item, depth + 1) for index, item in enumerate(part)]


def _fault_of(part: Any) -> str | None:
    if isinstance(part, bool) or part is None or isinstance(part, (dict, list, tuple)):
        return None
    if isinstance(part, str):
        return _fault_of_text(part)
    if isinstance(part, int):
        return None if -_LIMIT <= part < _LIMIT else "is an integer beyond 64 bits; send it as text"
    if isinstance(part, float):
        return None if part - part == 0 else f"is {part}, which JSON does not have; send None or text"
    if _has_secret(part):
        return SECRET
    try:
        inner = _known_types(part)
    except Exception:
        return (
            f"is of type {type(part).__name__}, which has no JSON form; annotate the parameter or the result with "
            "its type, or convert it first, as list(…) does"
        )
    return None if inner is part else _first_fault(inner)


def _fault_of_text(part: str) -> str | None:
    if "\x00" in part:
        return "has a NUL character, which databases refuse; remove it first"
    try:
        part.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate, which is not text; decode it with errors='replace'"
    return None
