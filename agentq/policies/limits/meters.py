"""The meters of a limit: what elements of one name and key declare together, and what each job takes of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentq.exceptions import InvalidArguments, StepDefinitionError
from agentq.policies.limits.elements import (
    MOST_TOKENS,
    Concurrency,
    Cooldown,
    Element,
    Rate,
    Tokens,
)
from agentq.policies.limits.keys import (
    TENANT,
    Key,
    fields_of,
    made_by,
    name_with_key,
    require_given,
    require_known,
)
from agentq.redaction import show


@dataclass(frozen=True, slots=True)
class PerTime:
    """A number that a period has: of starts, or of tokens."""

    limit: int
    per: float
    """Seconds."""
    burst: int
    """The number of them that may come at once."""

    @property
    def gap(self) -> float:
        """Seconds from one to the next: so that no period has more than *limit*, its burst and all."""
        return self.per / max(1, self.limit - self.burst)

    @property
    def text(self) -> str:
        """The number and its period: 500/60."""
        return f"{self.limit}/{self.per:g}"


@dataclass(frozen=True, slots=True)
class Meters:
    """All that code declares of one limit; None for a meter that it does not have."""

    slots: int | None = None
    rate: PerTime | None = None
    tokens: PerTime | None = None
    has_cooldown: bool = False
    is_strict: bool = False
    """True where a lost attempt keeps its slot until its code cannot run any more."""
    in_file: frozenset[str] = field(default=frozenset(), compare=False)
    """The meters whose numbers are those of the limits file: slots, rate and tokens."""

    @property
    def pays(self) -> bool:
        """True where an attempt asks this limit once more before it starts."""
        return self.rate is not None or self.tokens is not None

    @property
    def text(self) -> str:
        """Its meters in words: ``10 slots, 500/60 starts, 200000/60 tokens``."""
        words = [] if self.slots is None else [f"{self.slots} {'strict ' if self.is_strict else ''}slots"]
        words += [] if self.rate is None else [f"{self.rate.text} starts"]
        words += [] if self.tokens is None else [f"{self.tokens.text} tokens"]
        return ", ".join(words) or "no number"

    def __or__(self, other: Meters) -> Meters:
        """Return both together; of two alike, the one that lets fewer through."""
        slots = [number for number in (self.slots, other.slots) if number is not None]
        return Meters(
            min(slots, default=None),
            _slower(self.rate, other.rate),
            _slower(self.tokens, other.tokens),
            self.has_cooldown or other.has_cooldown,
            self.is_strict or other.is_strict,
            self.in_file | other.in_file,
        )


@dataclass(frozen=True, slots=True)
class JobLimit:
    """One limit of one job."""

    meters: Meters
    tokens: int = 0
    """The tokens that an attempt is expected to use."""


def meters_of(element: Element) -> Meters:
    """Return what one element declares."""
    match element:
        case Concurrency(limit=limit, strict=strict):
            return Meters(slots=limit, is_strict=strict)
        case Rate(limit=limit, per=per, burst=burst):
            return Meters(rate=PerTime(limit, float(per), burst))
        case Tokens(limit=limit, per=per):
            return Meters(tokens=PerTime(limit, float(per), element.at_once))
        case Cooldown():
            return Meters(has_cooldown=True)


def check_limits(limits: object, owner: str, parameters: Iterable[str]) -> tuple[Element, ...]:
    """Return limits, checked against the parameters of the step that has them; *owner* names it in errors.

    Raises StepDefinitionError for what is no limit, a key or an estimate that names no parameter of the step, two
    limits of one kind and name that differ, and two of one name with different keys.
    """
    if not isinstance(limits, (list, tuple)):
        raise StepDefinitionError(f"{owner}: limits= is {show(limits)}, must be a list of limits")
    own = list(parameters)
    seen: dict[tuple[type[Any], str], Element] = {}
    keys: dict[str, Any] = {}
    for limit in limits:
        if not isinstance(limit, Element):
            raise StepDefinitionError(
                f"{owner}: limits= has {show(limit)}, must be limits such as Concurrency('model', limit=10)"
            )
        require_known(owner, f"the key of limit {limit.name!r}", fields_of(limit.key), [*own, TENANT])
        if isinstance(limit, Tokens) and isinstance(limit.estimate, str):
            require_known(owner, f"the estimate of limit {limit.name!r}", [limit.estimate], own)
        if seen.setdefault((type(limit), limit.name), limit) != limit:
            raise StepDefinitionError(
                f"{owner} has two limits of the name {limit.name!r} that differ; give them different names"
            )
        if keys.setdefault(limit.name, limit.key) != limit.key:
            raise StepDefinitionError(
                f"{owner} has limits of the name {limit.name!r} with different keys; give them one key, so that "
                "they are one limit, or different names"
            )
    return tuple(seen.values())


def over_burst(limits: Iterable[Element], defaults: Mapping[str, Any]) -> Iterator[tuple[Tokens, int]]:
    """Give the limits whose estimate is more than may be used at once, with that estimate, where it is known.

    *defaults* are those of the step's parameters.
    """
    for limit in limits:
        if isinstance(limit, Tokens):
            estimate = defaults.get(limit.estimate) if isinstance(limit.estimate, str) else limit.estimate
            if isinstance(estimate, int) and estimate > limit.at_once:
                yield limit, estimate


def check_call_limits(limits: object, owner: str) -> tuple[Element, ...]:
    """Return limits of calls inside steps, checked; *owner* names them in errors.

    Raises StepDefinitionError as ``check_limits`` does, for a key, and for an estimate that arguments make.
    """
    checked = check_limits(limits, owner, ())
    for limit in checked:
        if limit.key is not None:
            raise StepDefinitionError(
                f"{owner}: limit {limit.name!r} has key={show(limit.key)}; leave it out, and name the key where "
                f"a slot is taken: ctx.limit('{limit.name}:news')"
            )
        if isinstance(limit, Tokens) and not isinstance(limit.estimate, int):
            raise StepDefinitionError(
                f"{owner}: the estimate of limit {limit.name!r} is {show(limit.estimate)}, and a call inside a "
                f"step has no arguments; give a whole number, and others where they are known: "
                f"ctx.limit('{limit.name}', tokens=…)"
            )
    return checked


def require_not_strict(limits: Iterable[Element], owner: str, option: str) -> None:
    """Raise StepDefinitionError for a strict limit of a step without a hard timeout, which *option* sets."""
    for limit in limits:
        if meters_of(limit).is_strict:
            raise StepDefinitionError(
                f"{owner}: limit {limit.name!r} is strict, so a lost attempt keeps its slot until its hard "
                f"timeout, and it has none; give it one with {option}"
            )


def declared_by(limits: Iterable[Element]) -> dict[str, Meters]:
    """Return what code declares of each limit, by its name without a key."""
    declared: dict[str, Meters] = {}
    for limit in limits:
        declared[limit.name] = declared.get(limit.name, Meters()) | meters_of(limit)
    return declared


def keyed(limits: Iterable[Element]) -> dict[str, Key]:
    """Return the limits that are divided wherever they are declared: a key of each, by its name."""
    found: dict[str, Key] = {}
    whole = set()
    for limit in limits:
        if limit.key is None:
            whole.add(limit.name)
        else:
            found.setdefault(limit.name, limit.key)
    return {name: key for name, key in found.items() if name not in whole}


def limits_of_job(
    limits: Iterable[Element], step: str, tenant: str, arguments: Mapping[str, Any]
) -> dict[str, JobLimit]:
    """Return the limits of one job, by the name with the key: what code declares of each, and the job's tokens.

    Elements of one name and key are one limit. Of two alike, the one holds that lets fewer through, and tokens add
    up.

    Args:
        limits: of its step.
        step: its name, for errors.
        tenant: of its workflow.
        arguments: of the job, by the names of their parameters.

    Raises InvalidArguments as ``name_with_key`` does, and for an estimate that cannot be made or is no number.
    """
    found: dict[str, JobLimit] = {}
    for limit in limits:
        name = name_with_key(limit.name, limit.key, step, tenant, arguments)
        if name is None:
            continue
        one = found.get(name, JobLimit(Meters()))
        found[name] = replace(one, meters=one.meters | meters_of(limit))
        if isinstance(limit, Tokens):
            tokens = one.tokens + _estimated(limit, step, arguments)
            found[name] = replace(found[name], tokens=min(tokens, MOST_TOKENS))
    return found


def need_argument(limits: Iterable[Element], name: str) -> bool:
    """Say whether limits of a job can be named only with its argument *name*; a function takes all arguments."""
    return any(
        callable(limit.key)
        or name in fields_of(limit.key)
        or (isinstance(limit, Tokens) and (callable(limit.estimate) or limit.estimate == name))
        for limit in limits
    )


def _estimated(limit: Tokens, step: str, arguments: Mapping[str, Any]) -> int:
    what = f"the estimate of limit {limit.name!r}"
    estimate = limit.estimate
    if isinstance(estimate, int):
        return estimate
    if isinstance(estimate, str):
        require_given(step, what, [estimate], arguments)
        value = arguments[estimate]
    else:
        value = made_by(step, what, lambda: estimate(**arguments))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_TOKENS:
        raise InvalidArguments(
            f"step {step!r}: {what} is {show(value)}, must be a whole number of tokens from 0 to {MOST_TOKENS}"
        )
    return value


def _slower(one: PerTime | None, other: PerTime | None) -> PerTime | None:
    given = [meter for meter in (one, other) if meter is not None]
    return max(given, key=lambda meter: (meter.gap, -meter.burst), default=None)
