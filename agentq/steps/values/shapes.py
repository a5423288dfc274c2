"""The JSON of an annotation's values, as far as its type says: to find values that can never be taken as another.

Where a type does not say (no annotation, a validator, a serializer, a configuration), everything is possible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from pydantic_core import to_jsonable_python

Schema = Mapping[str, Any]

_DEPTH = 6
"""Levels of nesting that are checked."""


def _by_type(names: Mapping[str, str]) -> dict[str, list[str]]:
    types = {name for text in names.values() for name in text.split()}
    return {name: [kind for kind, text in names.items() if name in text.split()] for name in types}


_TEXTS = "str bytes uuid url multi-host-url json"
_TIMES = "date time datetime timedelta"
_NUMBERS = "int float decimal complex"
_GIVEN = _by_type({"null": "none", "bool": "bool", "number": "int float", "text": f"{_TEXTS} {_TIMES} decimal"})
_TAKEN = _by_type(
    {
        "null": "none literal",
        "bool": f"bool {_NUMBERS} literal",
        "number": f"bool {_NUMBERS} {_TIMES} literal",
        "text": f"bool {_NUMBERS} {_TIMES} {_TEXTS} literal",
    }
)
"""For each type of pydantic's, the kinds of JSON that it is written as, and those that it is read from."""
_LISTS = frozenset({"list", "set", "frozenset", "tuple"})
_FIELDS = {"model": "model-fields", "dataclass": "dataclass-args", "typed-dict": "typed-dict"}
_INNER = {
    "default": "schema",
    "definitions": "schema",
    "custom-error": "schema",
    "lax-or-strict": "lax_schema",
    "json-or-python": "json_schema",
}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an object: its value, whether it is always there (must be given), and the names it goes by."""

    value: Shape
    is_sure: bool
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of JSON value that is possible, with its items: of an array the first ones and the rest, of an
    object those with a name and the rest. No rest means that there is none."""

    kind: str
    items: tuple[Shape, ...] = ()
    keys: tuple[Key, ...] = ()
    rest: Shape | None = None


Forms = tuple[Form, ...] | None
"""All that is possible; None for everything."""
Shape = Callable[[], Forms]
"""Gives the forms; lazily, since a type may contain itself."""


def anything() -> Forms:
    """The shape of a value of which nothing is known."""
    return None


_ANY_LIST = Form("array", rest=anything)


def given(schema: Any) -> Shape:
    """Return the shape of the values that a step of this result gives; of pydantic's core *schema*."""
    return partial(_Reader(schema, _GIVEN).forms, schema)


def taken(schema: Any) -> Shape:
    """Return the shape of the values that a parameter of this annotation takes."""
    return partial(_Reader(schema, _TAKEN).forms, schema)


def list_of(*items: Shape, rest: Shape | None = None) -> Shape:
    """Return the shape of a list of these items and, with *rest*, any number more of that shape."""
    return lambda: (Form("array", items=items, rest=rest),)


def one_of(*shapes: Shape) -> Shape:
    """Return the shape of what is one of these."""
    return lambda: _joined([shape() for shape in dict.fromkeys(shapes)])


def items_of(shape: Shape) -> Shape:
    """Return the shape of the items of a list."""

    def forms() -> Forms:
        lists = [form for form in shape() or (_ANY_LIST,) if form.kind == "array"]
        return one_of(*(part for form in lists for part in (*form.items, form.rest) if part))()

    return forms


@lru_cache(2_048)
def mismatch(gives: Shape, takes: Shape, depth: int = 0) -> str | None:
    """Return why no value of the one is ever taken as the other; None where one may be, or nothing is known."""
    before, after = gives(), takes()
    if not before or not after or depth > _DEPTH:
        return None
    reasons = [_clash(one, other, depth) for one in before for other in after]
    if None in reasons:
        return None
    return next((reason for reason in reasons if reason), "")


def _clash(one: Form, other: Form, depth: int) -> str | None:
    """Return why no value of *one* is taken as *other*; empty where the kinds say it, None where one may be."""
    if one.kind != other.kind:
        return ""
    reasons = _clashes_of_items(one, other, depth) if one.kind == "array" else _clashes_of_keys(one, other, depth)
    return next(reasons, None)


def _clashes_of_items(one: Form, other: Form, depth: int) -> Iterator[str]:
    too_few = one.rest is None and len(one.items) < len(other.items)
    if other.rest is None and (too_few or len(one.items) > len(other.items)):
        yield f"it takes {len(other.items)} items, not {len(one.items)}"
    places = [*other.items, *[other.rest] * (len(one.items) - len(other.items))]
    firsts = {pair: number for number, pair in reversed(list(enumerate(zip(one.items, places, strict=False))))}
    for (item, place), number in reversed(firsts.items()):
        reason = None if place is None else mismatch(item, place, depth + 1)
        if reason is not None:
            yield f"item {number + 1} can never be taken{reason and f': {reason}'}"


def _clashes_of_keys(one: Form, other: Form, depth: int) -> Iterator[str]:
    if one.kind != "object":
        return
    there = {name: key for key in one.keys for name in key.names}
    for key in other.keys:
        if key.is_sure and one.rest is None and not key.names & there.keys():
            yield f"its field {min(key.names)!r} must be given and never is"
    wanted = {name: key.value for key in other.keys if len(key.names) == 1 for name in key.names}
    known = {name for key in other.keys for name in key.names}
    for name, key in there.items():
        if not key.is_sure:
            continue
        if name not in known and other.rest is None:
            yield f"it takes no field {name!r}, which is always given"
        place = wanted.get(name, anything if name in known else other.rest)
        reason = None if place is None else mismatch(key.value, place, depth + 1)
        if reason is not None:
            yield f"its field {name!r} can never be taken{reason and f': {reason}'}"


class _Reader:
    """Reads one core schema, for what is given or for what is taken."""

    def __init__(self, schema: Any, kinds: Mapping[str, Any]) -> None:
        self._kinds = kinds
        self._gives = kinds is _GIVEN
        definitions = schema.get("definitions", ()) if isinstance(schema, Mapping) else ()
        self._definitions = {part["ref"]: part for part in definitions}

    def forms(self, schema: Schema) -> Forms:
        name = schema["type"]
        if _is_configured(schema) or (self._gives and "serialization" in schema):
            return None
        if name in _INNER:
            return self.forms(schema[_INNER[name]])
        if name == "definition-ref":
            found = self._definitions.get(schema["schema_ref"])
            return None if found is None else self.forms(found)
        if name == "function-after" and not self._gives:
            return self.forms(schema["schema"])
        if name == "nullable":
            inner = self.forms(schema["schema"])
            return None if inner is None else (Form("null"), *inner)
        if name in ("union", "tagged-union"):
            return self._union(schema["choices"])
        if self._gives and name in ("literal", "enum"):
            return _constants(schema["expected" if name == "literal" else "members"])
        if name in self._kinds:
            return tuple(map(Form, self._kinds[name]))
        return self._whole(name, schema)

    def _whole(self, name: str, schema: Schema) -> Forms:
        if name in _LISTS:
            return (self._array(schema),)
        if name == "dict":
            return (Form("object", rest=self._part(schema.get("values_schema"))),)
        if name in _FIELDS:
            return self._object(name, schema)
        return None

    def _part(self, schema: Schema | None) -> Shape:
        return anything if schema is None else partial(self.forms, schema)

    def _union(self, choices: Any) -> Forms:
        parts = list(choices.values()) if isinstance(choices, Mapping) else list(choices)
        schemas = [part[0] if isinstance(part, tuple) else part for part in parts]
        return _joined([self.forms(part) if isinstance(part, Mapping) else None for part in schemas])

    def _array(self, schema: Schema) -> Form:
        items: Any = schema.get("items_schema")
        if schema["type"] != "tuple":
            return Form("array", rest=self._part(items))
        if "variadic_item_index" in schema:
            before = items[: schema["variadic_item_index"]]
            # Values behind those of any number are not known from them.
            return Form("array", items=tuple(map(self._part, before)) if self._gives else (), rest=anything)
        return Form("array", items=tuple(map(self._part, items)))

    def _object(self, name: str, schema: Schema) -> Forms:
        fields = schema if name == "typed-dict" else schema["schema"]
        if schema.get("root_model"):
            return self.forms(fields)
        if fields["type"] != _FIELDS[name]:
            return None
        if schema.get("custom_init"):
            return (Form("object", rest=anything),)
        total = {"typed-dict": fields.get("total", True)}.get(name, True)
        entries = fields["fields"]
        named = entries.items() if isinstance(entries, Mapping) else [(entry["name"], entry) for entry in entries]
        keys = [self._key(key, entry, total) for key, entry in named]
        extra = fields.get("extra_behavior") or schema.get("config", {}).get("extra_fields_behavior")
        # What is given beside the fields is known only where nothing is; what is taken, unless it is forbidden.
        is_open = "extras_schema" in fields or (extra == "allow" if self._gives else extra != "forbid")
        is_open = is_open or (self._gives and bool(fields.get("computed_fields")))
        return (Form("object", keys=tuple(filter(None, keys)), rest=anything if is_open else None),)

    def _key(self, name: str, entry: Schema, total: bool) -> Key | None:
        schema = entry["schema"]
        if self._gives:
            if entry.get("init_only") or entry.get("serialization_exclude"):
                return None
            is_kept = "serialization_exclude_if" not in entry and entry.get("init", True)
            is_sure = entry.get("required", total) and is_kept
            return Key(partial(self.forms, schema), is_sure, frozenset({name}))
        is_sure = entry.get("required", total) and not _has_default(schema) and entry.get("init", True)
        return Key(partial(self.forms, schema), is_sure, frozenset({name, *_aliases(entry)}))


def _joined(every: list[Forms]) -> Forms:
    return None if None in every else tuple(form for forms in every for form in forms or ())


def _is_configured(schema: Schema) -> bool:
    """Say whether a configuration gives values another form, or takes another."""
    names = {*schema.get("config", {}), *schema}
    return any(name.startswith(("ser_json", "val_json", "val_temporal", "coerce_numbers")) for name in names)


def _has_default(schema: Schema) -> bool:
    while "schema" in schema and schema["type"] != "default":
        schema = schema["schema"]
    return bool(schema["type"] == "default")


def _aliases(entry: Schema) -> list[str]:
    """Return the keys that a field may be read from; of a path, where it begins."""
    alias = entry.get("validation_alias")
    paths = [] if alias is None else [[alias]] if isinstance(alias, str) else alias
    paths = [paths] if paths and not isinstance(paths[0], list) else paths
    return [str(path[0]) for path in paths]


def _constants(values: Any) -> Forms:
    names = {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}
    kinds = {names.get(type(to_jsonable_python(value, fallback=repr))) for value in values}
    return None if None in kinds else tuple(Form(str(kind)) for kind in kinds)
