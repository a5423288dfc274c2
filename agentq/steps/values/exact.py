"""Values that surely come back from their JSON as they were, which is known from their types alone.

Most annotations are of plain types: texts, numbers, models of such fields. For those a check is made once, which
checks the types of a value's items only. A value not known to be exact is written, read and compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from inspect import getattr_static
from types import MemberDescriptorType
from typing import Any
from uuid import UUID

from pydantic_core import SchemaValidator

from agentq.steps.values.same import is_derived

Check = Callable[[Any], bool]
Schema = Mapping[str, Any]

_DESCRIPTIVE = frozenset({"type", "metadata", "ref"})
_LIMITS = frozenset(
    {
        "min_length",
        "max_length",
        "pattern",
        "gt",
        "ge",
        "lt",
        "le",
        "multiple_of",
        "strict",
        "microseconds_precision",
    }
)
_KNOWN = {
    "nullable": {"schema"},
    "default": {"schema", "default", "default_factory", "default_factory_takes_data", "copy_default"},
    "list": {"items_schema"},
    "dict": {"keys_schema", "values_schema"},
    "literal": {"expected"},
    "enum": {"cls", "members", "sub_type"},
    "definitions": {"schema", "definitions"},
    "definition-ref": {"schema_ref"},
    "model": {"cls", "schema", "custom_init", "root_model", "config", "frozen", "generic_origin"},
    "model-fields": {"fields", "model_name", "computed_fields", "extra_behavior"},
    "model-field": {"schema", "frozen", "validation_alias", "serialization_alias"},
    "dataclass": {"cls", "schema", "fields", "post_init", "frozen", "slots", "config", "generic_origin"},
    "dataclass-args": {"fields", "dataclass_name", "computed_fields", "collect_init_only"},
    "dataclass-field": {"name", "schema", "kw_only", "init", "frozen", "validation_alias", "serialization_alias"},
}
"""The schema entries of each type that are exact; any other may change values on their way."""
_OFF = ("custom_init", "root_model", "computed_fields", "post_init", "collect_init_only")
_HARMLESS = frozenset({"title", "extra_fields_behavior", "from_attributes", "loc_by_alias"}) | {
    "hide_input_in_errors",
    "validate_by_alias",
    "validate_by_name",
    "serialize_by_alias",
}
"""Entries of a model's configuration that change no value."""


def always(value: Any) -> bool:
    """The check of values that pydantic has just made, and that JSON has all of."""
    return True


def check_of(schema: Any) -> Check | None:
    """Return what says of a valid value that it is exact; None where that can be said of none."""
    return _Maker(schema).check(schema, True)


class _Maker:
    """Makes checks of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._definitions = {part["ref"]: part for part in schema.get("definitions", ())}
        self._made: dict[str, Check | None] = {}

    def check(self, schema: Schema, is_made: bool) -> Check | None:
        """*is_made* says that validation makes the value; in an instance of a model it takes what is there."""
        name = schema["type"]
        said = set(schema) - _DESCRIPTIVE
        if name in _TYPES:
            return _plain(schema, said, is_made)
        if name not in _KNOWN or not said <= _KNOWN[name] or any(schema.get(option) for option in _OFF):
            return None
        return _MAKERS[name](self, schema, is_made)

    def _inner(self, schema: Schema, is_made: bool) -> Check | None:
        return self.check(schema["schema"], is_made)

    def _nullable(self, schema: Schema, is_made: bool) -> Check | None:
        inner = self._inner(schema, is_made)
        return inner if inner in (None, always) else lambda value: value is None or inner(value)

    def _list(self, schema: Schema, is_made: bool) -> Check | None:
        inner = self.check(schema.get("items_schema", _ANY), is_made)
        if inner is None or (is_made and inner is always):
            return inner
        return lambda value: type(value) is list and all(map(inner, value))

    def _dict(self, schema: Schema, is_made: bool) -> Check | None:
        key = self.check(schema.get("keys_schema", _ANY), is_made)
        inner = self.check(schema.get("values_schema", _ANY), is_made)
        if key is None or inner is None or schema["keys_schema"]["type"] != "str":
            return None
        if is_made and inner is always:
            return always
        return lambda value: type(value) is dict and all(map(key, value)) and all(map(inner, value.values()))

    def _literal(self, schema: Schema, is_made: bool) -> Check | None:
        expected = frozenset(schema["expected"])
        kinds = {type(value) for value in expected}
        return (lambda value: type(value) in kinds and value in expected) if kinds in ({str}, {int}) else None

    def _enum(self, schema: Schema, is_made: bool) -> Check | None:
        cls = schema["cls"]
        kinds = {type(member.value) for member in schema["members"]}
        return (lambda value: type(value) is cls) if kinds in ({str}, {int}) else None

    def _reference(self, schema: Schema, is_made: bool) -> Check | None:
        name = schema["schema_ref"]
        if name not in self._made:
            self._made[name] = lambda value: (self._made[name] or _never)(value)  # where the type contains itself
            self._made[name] = (
                self.check(self._definitions[name], is_made=False) if name in self._definitions else None
            )
        return self._made[name]

    def _object(self, schema: Schema, is_made: bool) -> Check | None:
        config, cls, inside = schema.get("config", {}), schema["cls"], schema["schema"]
        kind = f"{schema['type']}-fields" if schema["type"] == "model" else "dataclass-args"
        said = set(inside) - _DESCRIPTIVE
        if inside["type"] != kind or not said <= _KNOWN[kind] or any(inside.get(option) for option in _OFF):
            return None
        extra = inside.get("extra_behavior") or config.get("extra_fields_behavior")
        if set(config) - _HARMLESS or extra == "allow" or getattr(cls, "__private_attributes__", None):
            return None
        checks = self._fields(inside["fields"])
        return None if checks is None else partial(_is_exact, cls, checks, _held(cls, checks))

    def _fields(self, entries: Any) -> list[tuple[str, Check]] | None:
        named = entries if isinstance(entries, Mapping) else {entry["name"]: entry for entry in entries}
        checks = []
        for name, entry in named.items():
            alias = entry.get("validation_alias", name)
            is_clear = isinstance(alias, str) and (alias == name or alias not in named) and entry.get("init", True)
            known = set(entry) - _DESCRIPTIVE <= _KNOWN[entry["type"]]
            check = self.check(entry["schema"], is_made=False) if is_clear and known else None
            if check is None:
                return None
            checks.append((name, check))
        return checks


_ANY: Schema = {"type": "any"}
_MAKERS: dict[str, Callable[[_Maker, Schema, bool], Check | None]] = {
    "nullable": _Maker._nullable,
    "default": _Maker._inner,
    "definitions": _Maker._inner,
    "definition-ref": _Maker._reference,
    "list": _Maker._list,
    "dict": _Maker._dict,
    "literal": _Maker._literal,
    "enum": _Maker._enum,
    "model": _Maker._object,
    "dataclass": _Maker._object,
}


def _plain(schema: Schema, said: set[str], is_made: bool) -> Check | None:
    name = schema["type"]
    cls, is_right = _TYPES[name]
    if not said <= _LIMITS:
        return None
    if is_made and name in _ALL_IN_JSON:
        return always
    within = SchemaValidator(dict(schema)).isinstance_python if said and not is_made else always
    return lambda value: type(value) is cls and is_right(value) and within(value)


def _is_exact(cls: type, checks: list[tuple[str, Check]], held: int | None, value: Any) -> bool:
    if type(value) is not cls or not (held is None or len(value.__dict__) == held or _is_bare(checks, value)):
        return False
    return all(check(getattr(value, name, _MISSING)) for name, check in checks)


def _held(cls: type, checks: list[tuple[str, Check]]) -> int | None:
    """Return how many fields a value holds in its ``__dict__``, the others being slots; None where it has none."""
    in_slots = [isinstance(getattr_static(cls, name, None), MemberDescriptorType) for name, _ in checks]
    return in_slots.count(False) if cls.__dictoffset__ else None


def _is_bare(checks: list[tuple[str, Check]], value: Any) -> bool:
    """Say whether a value has no attribute beside its fields but what its class derives from them."""
    return all(is_derived(type(value), name) for name in value.__dict__.keys() - dict(checks).keys())


def _never(value: Any) -> bool:
    return False


def _is_simple_time(value: datetime) -> bool:
    return not value.utcoffset() and not value.fold


_MISSING = object()
_ALL_IN_JSON = frozenset({"str", "int", "bool", "float", "none"})
"""Types whose values JSON has; what it has not of them, such as NaN, is refused where text is made of it."""
_TYPES: dict[str, tuple[type, Check]] = {
    "str": (str, always),
    "int": (int, always),
    "bool": (bool, always),
    "float": (float, math.isfinite),
    "none": (type(None), always),
    "date": (date, always),
    "datetime": (datetime, _is_simple_time),
    "uuid": (UUID, always),
    "decimal": (Decimal, Decimal.is_finite),
}
