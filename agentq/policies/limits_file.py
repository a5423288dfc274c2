"""The limits file: numbers of limits in TOML, in place of those in code.

.. code-block:: toml

    [limits.model]              # each key of the limit that code calls "model"
    slots = 10

    [limits."model:gpt-5"]      # one key
    slots = 20
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from agentq.exceptions import ConfigurationError, nearest
from agentq.policies.limits import MOST_SLOTS, Meters
from agentq.redaction import show

_LIMITS, _SLOTS = "limits", "slots"


@dataclass(frozen=True, slots=True)
class LimitsFile:
    """The content of a limits file; without a path, of none.

    Attributes:
        path: where it is.
        text: its text, for the lines that errors name.
        slots: the number of slots by the name of a limit, with its key or for all of them.
    """

    path: Path | None = None
    text: str = ""
    slots: Mapping[str, int] = field(default_factory=dict)

    def meters_of(self, name: str, declared: Meters) -> Meters:
        """Return the meters of a limit by its name with the key; *declared* is what code says."""
        slots = self.slots.get(name, self.slots.get(name.partition(":")[0]))
        return declared if slots is None else replace(declared, slots=slots)

    def require_known(self, names: Collection[str]) -> None:
        """Raise ConfigurationError for a limit that is none of *names*, which code declares, nor a key of one."""
        for name in self.slots:
            if name not in names and name.partition(":")[0] not in names:
                known = f"Known: {', '.join(sorted(names))}" if names else "No step declares one"
                near = nearest(name, names)
                self._refuse([_LIMITS, name], f"no code declares limit {show(name)}.{near} {known}")

    def _refuse(self, keys: list[str], why: str) -> NoReturn:
        raise ConfigurationError(
            f"the limits file {self.path}, line {_line_of(self.text, keys)}: {why} (setting agentq_limits)"
        )


NO_FILE = LimitsFile()


def read(path: Path) -> LimitsFile:
    """Read a limits file; raises ConfigurationError with the line and the key of what is wrong there."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the limits file {path} cannot be read: {getattr(error, 'strerror', None) or error} "
            "(setting agentq_limits)"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the limits file {path} is no TOML: {error} (setting agentq_limits)") from None
    slots: dict[str, int] = {}
    found = LimitsFile(path, text, slots)
    _require_keys(found, [], data, _LIMITS)
    for name, limit in _table(found, [_LIMITS], data.get(_LIMITS, {})).items():
        keys = [_LIMITS, name]
        _require_keys(found, keys, _table(found, keys, limit), _SLOTS)
        value = limit.get(_SLOTS)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SLOTS:
            found._refuse(
                [*keys, _SLOTS] if _SLOTS in limit else keys,
                f"slots of limit {show(name)} is {show(value)}; it must be a whole number from 1 to {MOST_SLOTS}",
            )
        slots[name] = value
    return found


def _table(found: LimitsFile, keys: list[str], value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        found._refuse(keys, f"{'.'.join(keys)} is {show(value)}; it must be a table, such as [limits.model]")
    return value


def _require_keys(found: LimitsFile, keys: list[str], table: Mapping[str, object], known: str) -> None:
    for key in table:
        if key != known:
            found._refuse([*keys, key], f"there is no key {show(key)}.{nearest(key, [known])} Known: {known}")


def _line_of(text: str, keys: list[str]) -> int:
    """Return the first line by which the TOML has these keys: tomllib says no line of a value."""
    lines = text.splitlines()
    return next((end for end in range(1, len(lines)) if _has(lines[:end], keys)), len(lines))


def _has(lines: list[str], keys: list[str]) -> bool:
    try:
        value: Any = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:  # in the middle of a value
        return False
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
