"""The limits file: numbers of limits in TOML, in place of those in code.

.. code-block:: toml

    [limits.model]              # each key of the limit that code calls "model"
    slots = 10
    rate = "500/60"             # as agentq limits set --rate takes it
    tokens = "200000/60"
    cooldown = true             # as code that gives it a Cooldown; false as code that does not

    [limits."model:gpt-5"]      # one key
    slots = 20
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from agentq.exceptions import ConfigurationError, nearest
from agentq.policies import written
from agentq.policies.limits import MOST_SLOTS, Meters, PerTime
from agentq.policies.limits.elements import LONGEST, MOST_STARTS, MOST_TOKENS, SHORTEST
from agentq.policies.limits.keys import QUEUE
from agentq.redaction import show

_LIMITS, _SLOTS, _RATE, _TOKENS, _COOLDOWN = "limits", "slots", "rate", "tokens", "cooldown"
_MOST = {_RATE: MOST_STARTS, _TOKENS: MOST_TOKENS}
T = TypeVar("T")

PerTimeInFile = tuple[int, float]
"""A number of starts or tokens, and the seconds of their period."""


@dataclass(frozen=True, slots=True)
class LimitsFile:
    """The content of a limits file; without a path, of none.

    Attributes:
        path: where it is.
        text: its text, for the lines that errors name.
        slots: the number of slots by the name of a limit, with its key or for all of them.
        rates: its starts in a period.
        tokens: its tokens in a period.
        cooldowns: whether it has a cooldown.
    """

    path: Path | None = None
    text: str = ""
    slots: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, PerTimeInFile] = field(default_factory=dict)
    tokens: Mapping[str, PerTimeInFile] = field(default_factory=dict)
    cooldowns: Mapping[str, bool] = field(default_factory=dict)

    @property
    def names(self) -> Set[str]:
        """The limits that it names."""
        return self.slots.keys() | self.rates.keys() | self.tokens.keys() | self.cooldowns.keys()

    def meters_of(self, name: str, declared: Meters) -> Meters:
        """Return the meters of a limit by its name with the key; *declared* is what code says."""
        slots, has_cooldown = _of(self.slots, name), _of(self.cooldowns, name)
        return replace(
            declared,
            slots=declared.slots if slots is None else slots,
            rate=_in_place_of(declared.rate, _of(self.rates, name)),
            tokens=_in_place_of(declared.tokens, _of(self.tokens, name)),
            has_cooldown=declared.has_cooldown if has_cooldown is None else has_cooldown,
            in_file=frozenset(
                meter
                for meter, numbers in ((_SLOTS, self.slots), (_RATE, self.rates), (_TOKENS, self.tokens))
                if _of(numbers, name) is not None
            ),
        )

    def require_known(self, declared: Mapping[str, Meters]) -> None:
        """Raise ConfigurationError for a limit that code has not *declared*, and for a rate or tokens of such."""
        for name in sorted(self.names):
            meters = declared.get(name, declared.get(name.partition(":")[0]))
            if meters is None:
                known = f"Known: {', '.join(sorted(declared))}" if declared else "No step declares one"
                near = nearest(name, declared)
                self._refuse([_LIMITS, name], f"no code declares limit {show(name)}.{near} {known}")
            if name in self.cooldowns and name.partition(":")[0] == QUEUE:
                self._refuse(
                    [_LIMITS, name, _COOLDOWN],
                    f"{show(name)} is an ordered queue, which has no cooldown; give one to a limit of its steps",
                )
            for key, numbers, meter in ((_RATE, self.rates, meters.rate), (_TOKENS, self.tokens, meters.tokens)):
                if name in numbers and meter is None:
                    self._refuse(
                        [_LIMITS, name, key],
                        f"code declares no {key} of limit {show(name)}, so its jobs ask for none; add one there, "
                        "or take this line out",
                    )

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
    per_time: dict[str, dict[str, PerTimeInFile]] = {_RATE: {}, _TOKENS: {}}
    cooldowns: dict[str, bool] = {}
    found = LimitsFile(path, text, slots, per_time[_RATE], per_time[_TOKENS], cooldowns)
    _require_keys(found, [], data, _LIMITS)
    for name, limit in _table(found, [_LIMITS], data.get(_LIMITS, {})).items():
        keys = [_LIMITS, name]
        _require_keys(found, keys, _table(found, keys, limit), _SLOTS, _RATE, _TOKENS, _COOLDOWN)
        if not limit:
            found._refuse(keys, f"limit {show(name)} has nothing; give it slots, rate, tokens or cooldown")
        for key, value in limit.items():
            if key == _SLOTS:
                slots[name] = _slots(found, name, value)
            elif key == _COOLDOWN:
                cooldowns[name] = _cooldown(found, name, value)
            else:
                per_time[key][name] = _per_time(found, name, key, value)
    return found


def _of(numbers: Mapping[str, T], name: str) -> T | None:
    """Return the number of one key, or that of all keys."""
    return numbers.get(name, numbers.get(name.partition(":")[0]))


def _in_place_of(declared: PerTime | None, number: PerTimeInFile | None) -> PerTime | None:
    """Return a meter with the number of the file, and with the burst of code as far as that fits."""
    if declared is None or number is None:
        return declared
    return PerTime(*number, burst=min(declared.burst, max(1, number[0] - 1)))


def _slots(found: LimitsFile, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SLOTS:
        found._refuse(
            [_LIMITS, name, _SLOTS],
            f"slots of limit {show(name)} is {show(value)}; it must be a whole number from 1 to {MOST_SLOTS}",
        )
    return value


def _per_time(found: LimitsFile, name: str, key: str, value: object) -> PerTimeInFile:
    number, seconds = (written.number_in_time(value) if isinstance(value, str) else None) or (0, 0.0)
    if not 1 <= number <= _MOST[key] or not SHORTEST <= seconds <= LONGEST:
        found._refuse(
            [_LIMITS, name, key],
            f"{key} of limit {show(name)} is {show(value)}; it must be a number from 1 to {_MOST[key]} and its "
            f'period in seconds, from {SHORTEST} to a year: "500/60" or "500/1m"',
        )
    return number, seconds


def _cooldown(found: LimitsFile, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        found._refuse(
            [_LIMITS, name, _COOLDOWN],
            f"cooldown of limit {show(name)} is {show(value)}; it must be true or false: it lasts as long as the "
            "provider says",
        )
    return value


def _table(found: LimitsFile, keys: list[str], value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        found._refuse(keys, f"{'.'.join(keys)} is {show(value)}; it must be a table, such as [limits.model]")
    return value


def _require_keys(found: LimitsFile, keys: list[str], table: Mapping[str, object], *known: str) -> None:
    for key in table:
        if key not in known:
            found._refuse(
                [*keys, key], f"there is no key {show(key)}.{nearest(key, known)} Known: {', '.join(known)}"
            )


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
