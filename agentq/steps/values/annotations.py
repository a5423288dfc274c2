"""The way of a value to JSON and back through its annotation: it arrives as it was given, or it is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from agentq.exceptions import InvalidValue
from agentq.redaction import clean
from agentq.steps.values.binary import MARK, marked, restored
from agentq.steps.values.encoding import SECRET
from agentq.steps.values.exact import check_of
from agentq.steps.values.same import ABSENT, at, difference, first_lost, first_secret, in_order

FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RecursionError)
"""Errors of a value, also those that validators and serializers of the user's let pass; no stop of a worker."""

_ADVICE = "give it a form that validation reads back, or pass a plain value and build it in the step"
_WAYS = ((False, False), (True, False), (False, True), (True, True))
"""Ways to write a value: with what is computed, for readers of the JSON, or without, where it cannot be read back;
with bytes as text where they are that, or all in base64, where a union would take them for text."""


class _Shape(GenerateJsonSchema):
    """A schema without defaults, which have no fixed order where they are sets."""

    def default_schema(self, schema: WithDefaultSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])


class Annotation:
    """One annotation: its check of values, their JSON form, and the way back."""

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation = _with_lists(annotation)
        self.adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self.schema = schema = self.adapter.core_schema
        self._is_exact = check_of(schema)
        nodes = [] if self._is_exact else list(_nodes(schema))
        if any(node.get("type") == "generator" for node in nodes):
            raise PydanticUserError("an iterable in it can be read only once; write a list", code=None)
        self._has_sets = any(node.get("type") in ("set", "frozenset") for node in nodes)
        self._has_bytes = any(node.get("type") == "bytes" for node in nodes)
        if any("ser_json_bytes" in node or "val_json_bytes" in node for node in nodes):
            self._has_bytes = False  # the user's models say themselves what becomes of bytes

    @property
    def shape(self) -> Any:
        """The JSON that fits it, as JSON that is the same in every process."""
        try:
            return self.adapter.json_schema(schema_generator=_Shape)
        except Exception:  # of types that have no schema, and of the user's own code
            return re.sub(r" at 0x[0-9a-f]+", "", repr(self._annotation))

    def dump(self, value: Any, *, or_given: bool = False) -> Any:
        """Return *value* ready for JSON, in a form that ``load`` rebuilds exactly.

        *or_given* keeps a value that is JSON already as it is where only that is rebuilt exactly, as where
        a validator changes what it is given.

        Raises InvalidValue where no form is rebuilt exactly, pydantic's or the user's error where *value* does
        not fit.
        """
        valid = self.adapter.validate_python(value, by_alias=True, by_name=True)
        if self._is_exact is not None and self._is_exact(valid):
            return self._form(valid)
        lost = first_lost(value, valid)
        if lost is not None:
            raise InvalidValue(f"{lost} would be lost: the annotation has no place for it")
        trouble: InvalidValue | None = None
        for way in _WAYS if self._has_bytes else _WAYS[:2]:
            try:
                form = self._form(valid, *way)
                self._compare(valid, form)
            except InvalidValue as error:
                secret = first_secret(valid)
                if secret is not None:  # given as plain text, it would be kept as that
                    raise InvalidValue(f"{at(secret)} {SECRET}") from None
                trouble = trouble or error
            else:
                return form
        if or_given and _is_json(value):
            try:
                self._compare(valid, value)
            except InvalidValue:
                pass
            else:
                return value
        assert trouble is not None
        raise trouble

    def load(self, value: Any) -> Any:
        """Rebuild what ``dump`` gave; raises one of ``FAULTS``."""
        text = json.dumps(value)
        if self._has_bytes and MARK in text:
            return self.adapter.validate_python(restored(value), by_alias=True, by_name=True)
        return self.adapter.validate_json(text, by_alias=True, by_name=True)

    def _form(self, valid: Any, round_trip: bool = False, also_text: bool = False) -> Any:
        try:
            valid = marked(valid, also_text=also_text) if self._has_bytes else valid
            form = self.adapter.dump_python(
                valid, mode="json", by_alias=False, round_trip=round_trip, warnings=False
            )
        except FAULTS as error:
            raise InvalidValue(f"has no JSON form: {fault_of(error)}; {_ADVICE}") from None
        return in_order(valid, form) if self._has_sets else form

    def _compare(self, valid: Any, form: Any) -> None:
        try:
            back = self.load(form)
        except FAULTS as error:
            raise InvalidValue(f"cannot be rebuilt from its JSON form: {fault_of(error)}; {_ADVICE}") from None
        found = difference(valid, back)
        if found is None:
            return
        path, before, after = found
        if after is ABSENT:
            raise InvalidValue(f"{at(path)} would be lost: it is no field of its class; make it one")
        types = type(before).__name__, type(after).__name__
        how = "another value" if types[0] == types[1] else f"a value of type {types[1]} instead of {types[0]}"
        raise InvalidValue(f"{at(path)} would come back from JSON as {how}; {_ADVICE}")


def fault_of(error: BaseException, name: str = "the value") -> str:
    """Return what is wrong with a value in one line, with the path of each of the first faults."""
    if not isinstance(error, ValidationError):
        return clean(str(error) or type(error).__name__, 300)
    faults = error.errors(include_url=False, include_context=False)
    lines = [f"{'.'.join([name, *map(str, fault['loc'])])}: {fault['msg']}" for fault in faults[:3]]
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return clean("; ".join(lines) + more, 400)


def _with_lists(annotation: Any) -> Any:
    """Return *annotation* with lists for iterables, which Pydantic would check only when they are read, once."""
    origin, parts = get_origin(annotation), tuple(_with_lists(part) for part in get_args(annotation))
    if annotation is Iterable or origin in (Iterable, Generator):
        return list[parts[0]] if parts else list  # type: ignore[valid-type]
    if origin in (Union, UnionType):
        return reduce(or_, parts)
    return annotation


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    parts = [schema]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
            parts += part.values()
        elif isinstance(part, (list, tuple)):
            parts += part


def _is_json(value: Any) -> bool:
    try:
        return difference(value, json.loads(json.dumps(value, allow_nan=False))) is None
    except FAULTS:
        return False
