"""The name and the key of a limit: checked where they are written, and made into one name for each job."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agentq.exceptions import InvalidArguments, StepDefinitionError, nearest
from agentq.redaction import clean, show
from agentq.states import CAPS

MAX_NAME = 255
"""Characters of a limit's name with its key."""
TENANT = "tenant"
"""The field of a template that stands for the workflow's tenant."""
QUEUE = "queue"
"""The name of the limits of ordered queues; the queue is the key."""

Key = str | Callable[..., Any] | None
"""The source of a limit's key: a parameter's name, a template of such names, or a function of the arguments."""


def check_name_and_key(name: object, key: object) -> None:
    """Raise StepDefinitionError for a name or a key that makes no sense."""
    if not is_name(name) or ":" in str(name):
        raise StepDefinitionError(
            f"the name of a limit is {show(name)}, must be 1 to {MAX_NAME} printable characters without "
            "a colon, which stands before the key"
        )
    if name in CAPS:
        raise StepDefinitionError(f"the name of a limit is {name!r}, which is that of a cap; give it another name")
    if name == QUEUE:
        raise StepDefinitionError(
            f"the name of a limit is {QUEUE!r}, which is that of ordered queues (setting agentq_ordered); "
            "give it another name"
        )
    if key is not None and not callable(key):
        _require_template(str(name), key)


def limit_of_queue(queue: str) -> str:
    """Return the name of the limit that all jobs of an ordered queue have."""
    return f"{QUEUE}:{queue}"


def fields_of(key: Key) -> list[str]:
    """Return the names of the arguments that make a key; none for a function, which takes all."""
    if key is None or callable(key):
        return []
    return [name for _, name, _, _ in string.Formatter().parse(key) if name] or [key]


def require_known(owner: str, what: str, fields: Iterable[str], known: list[str]) -> None:
    """Raise StepDefinitionError where one of *fields*, which *what* names, is no argument of the owner."""
    for name in fields:
        if name not in known:
            raise StepDefinitionError(
                f"{owner}: {what} names {name!r}, which is no argument there.{nearest(name, known)} "
                f"Known: {', '.join(known)}."
            )


def require_given(step: str, what: str, fields: Iterable[str], arguments: Mapping[str, Any]) -> None:
    """Raise InvalidArguments where one of *fields*, which *what* needs, is not among the arguments."""
    for name in fields:
        if name not in arguments and name != TENANT:
            raise InvalidArguments(f"step {step!r}: {what} needs {name!r}, which is not among its arguments")


def made_by(step: str, what: str, make: Callable[[], Any]) -> Any:
    """Return what a function of the user makes of the arguments; raises InvalidArguments where that raises."""
    try:
        return make()
    except Exception as error:
        raise InvalidArguments(
            f"step {step!r}: {what} cannot be made: {type(error).__name__}: {clean(str(error), 200)}"
        ) from None


def name_with_key(name: str, key: Key, step: str, tenant: str, arguments: Mapping[str, Any]) -> str | None:
    """Return the name of one job's limit, with its key; None where the key is None.

    Raises InvalidArguments where a key function raises, where a key is no text or whole number or is too long, and
    where *arguments* lacks the one that a key is made of.
    """
    if key is None:
        return name
    what = f"the key of limit {name!r}"
    require_given(step, what, fields_of(key), arguments)
    value = made_by(step, what, lambda: _value(key, {TENANT: tenant, **arguments}, arguments))
    if value is None:
        return None
    full = f"{name}:{value}"
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "" or not is_name(full):
        raise InvalidArguments(
            f"step {step!r}: {what} is {show(value)}, must be text or a whole number, of "
            f"printable characters, which makes at most {MAX_NAME} with the name; or None for no limit"
        )
    return full


def is_name(name: object) -> bool:
    """Say whether something can be the name of a limit, with its key."""
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable()


def _value(key: Key, fields: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    if callable(key):
        return key(**arguments)
    values = {name: fields[name] for name in fields_of(key)}
    if None in values.values():
        return None
    assert key is not None
    return key.format_map(values) if "{" in key else values[key]


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
