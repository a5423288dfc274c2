"""Limits of a step's jobs: how many may run at once, for each value of a key."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentq.exceptions import InvalidArguments, StepDefinitionError, nearest
from agentq.policies.checks import a_count
from agentq.redaction import clean, show

MAX_NAME = 255
"""Characters of a limit's name with its key."""
MOST_SLOTS = 1_000_000
TENANT = "tenant"
"""The field of a template that stands for the workflow's tenant."""

QUEUE = "queue"
"""The name of the limits of ordered queues; the queue is the key."""

Key = str | Callable[..., Any] | None
"""The source of a limit's key: a parameter's name, a template of such names, or a function of the arguments."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A limit of the number of jobs that may run at once.

    Args:
        name: the limit's name. Steps that give the same name share the limit.
        limit: the number of jobs that may run at once; from 1.
        key: divides the limit: each value of the key has its own *limit* slots. The name of a parameter
            (``"model"``), a template (``"{tenant}"``, ``"{provider}:{model}"``; ``tenant`` is the workflow's), or
            a function that is called with the step's arguments and returns text or a whole number. A job whose key
            is None does not have this limit. Default: one limit for all.

    Raises StepDefinitionError for a name, number or key that makes no sense.
    """

    name: str
    limit: int = field(kw_only=True)
    key: Key = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not _is_name(self.name) or ":" in self.name:
            raise StepDefinitionError(
                f"the name of a limit is {show(self.name)}, must be 1 to {MAX_NAME} printable characters without "
                "a colon, which stands before the key"
            )
        if self.name == QUEUE:
            raise StepDefinitionError(
                f"the name of a limit is {QUEUE!r}, which is that of ordered queues (setting agentq_ordered); "
                "give it another name"
            )
        a_count(f"the limit of Concurrency({self.name!r})", self.limit, least=1, most=MOST_SLOTS)
        if self.key is not None and not callable(self.key):
            _require_template(self.name, self.key)

    @property
    def fields(self) -> list[str]:
        """The names of the arguments that make the key; none for a function, which takes all."""
        if self.key is None or callable(self.key):
            return []
        return [name for _, name, _, _ in string.Formatter().parse(self.key) if name] or [self.key]


def check_limits(limits: object, owner: str, parameters: Iterable[str]) -> tuple[Concurrency, ...]:
    """Return limits, checked against the parameters of the step that has them; *owner* names it in errors.

    Raises StepDefinitionError for what is no limit, a key that names no parameter of the step, and two limits of
    one name that differ.
    """
    if not isinstance(limits, (list, tuple)):
        raise StepDefinitionError(f"{owner}: limits= is {show(limits)}, must be a list of limits")
    known = [*parameters, TENANT]
    seen: dict[str, Concurrency] = {}
    for limit in limits:
        if not isinstance(limit, Concurrency):
            raise StepDefinitionError(
                f"{owner}: limits= has {show(limit)}, must be limits such as Concurrency('model', limit=10)"
            )
        for name in limit.fields:
            if name not in known:
                raise StepDefinitionError(
                    f"{owner}: the key of limit {limit.name!r} names {name!r}, which is no argument "
                    f"there.{nearest(name, known)} Known: {', '.join(known)}."
                )
        if seen.setdefault(limit.name, limit) != limit:
            raise StepDefinitionError(
                f"{owner} has two limits of the name {limit.name!r} that differ; give them different names"
            )
    return tuple(seen.values())


def limit_of_queue(queue: str) -> str:
    """Return the name of the limit that all jobs of an ordered queue have."""
    return f"{QUEUE}:{queue}"


def slots_of(
    limits: Iterable[Concurrency], step: str, tenant: str, arguments: Mapping[str, Any]
) -> dict[str, int]:
    """Return the limits of one job: the number of slots by the name with the key; the smaller one, of two alike.

    Args:
        limits: of its step.
        step: its name, for errors.
        tenant: of its workflow.
        arguments: of the job, by the names of their parameters.

    Raises InvalidArguments where a key function raises, where a key is no text or whole number or is too long, and
    where *arguments* lacks the one that a key is made of.
    """
    slots: dict[str, int] = {}
    for limit in limits:
        name = _name_with_key(limit, step, tenant, arguments)
        if name is not None:
            slots[name] = min(limit.limit, slots.get(name, limit.limit))
    return slots


def _name_with_key(limit: Concurrency, step: str, tenant: str, arguments: Mapping[str, Any]) -> str | None:
    if limit.key is None:
        return limit.name
    missing = [name for name in limit.fields if name not in arguments and name != TENANT]
    if missing:
        raise InvalidArguments(
            f"step {step!r}: the key of limit {limit.name!r} needs {missing[0]!r}, which the step before gives; "
            f"give it in the canvas, such as .s({missing[0]}=…), so that it is known when the workflow starts"
        )
    try:
        value = _value(limit, {TENANT: tenant, **arguments}, arguments)
    except Exception as error:
        raise InvalidArguments(
            f"step {step!r}: the key of limit {limit.name!r} cannot be made: {type(error).__name__}: "
            f"{clean(str(error), 200)}"
        ) from None
    if value is None:
        return None
    name = f"{limit.name}:{value}"
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "" or not _is_name(name):
        raise InvalidArguments(
            f"step {step!r}: the key of limit {limit.name!r} is {show(value)}, must be text or a whole number, of "
            f"printable characters, which makes at most {MAX_NAME} with the name; or None for no limit"
        )
    return name


def _value(limit: Concurrency, fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    if callable(limit.key):
        return limit.key(**arguments)
    values = {name: fields[name] for name in limit.fields}
    if None in values.values():
        return None
    assert limit.key is not None
    return limit.key.format_map(values) if "{" in limit.key else values[limit.key]


def _require_template(name: str, key: object) -> None:
    message = (
        f"the key of limit {name!r} is {show(key)}, must be a parameter's name, a template such as "
        "'{tenant}:{model}', or a function of the arguments"
    )
    if not isinstance(key, str) or not key:
        raise StepDefinitionError(message)
    try:
        parts = list(string.Formatter().parse(key))
    except ValueError as error:
        raise StepDefinitionError(f"{message}: {error}") from None
    names = [field for _, field, _, _ in parts if field is not None] or [key]
    if not all(field.isidentifier() for field in names) or any(form or by for _, _, form, by in parts):
        raise StepDefinitionError(message)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()
