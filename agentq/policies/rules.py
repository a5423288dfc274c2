"""One rule of a policy: which errors it is for, and what is to be done about them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentq.policies.checks import a_count, a_word, refusal
from agentq.policies.errors.categories import Category
from agentq.policies.errors.classify import ErrorFacts
from agentq.policies.errors.untrusted import class_name, is_stop
from agentq.policies.schedules import Schedule
from agentq.redaction import show

logger = logging.getLogger(__name__)

Predicate = Callable[[ErrorFacts], bool]


class OnError(StrEnum):
    """The action on an error.

    ``RETRY`` tries again and burns an attempt; ``DEFER`` tries again and burns none; ``FAIL`` ends the job, as
    running out of attempts does; ``DEAD_LETTER`` makes it a dead letter at once, whatever was left; ``ASK`` does
    the same and marks that a person must decide.
    """

    RETRY = "retry"
    DEFER = "defer"
    FAIL = "fail"
    DEAD_LETTER = "dead_letter"
    ASK = "ask"

    @property
    def is_final(self) -> bool:
        """True if the job is not tried again."""
        return self in (OnError.FAIL, OnError.DEAD_LETTER, OnError.ASK)


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions, all of which must hold, and an action. Made by :func:`rule`, which takes easier values.

    Attributes:
        action: what is done.
        error: class names, of which the error must have one: bare, or with its package.
        status: ranges of the HTTP status, both ends included.
        code: provider's codes, in lower case.
        category: categories.
        has_retry_after: whether the provider must have said when to come back, or must not; None for either.
        when: a function of the facts that must return true.
        schedule: the pauses; None for the policy's own.
        limit: how often at most: attempts of the job where it retries, deferrals where it defers.
        too_long: what is done where the provider wants a longer pause than the policy allows.
    """

    action: OnError
    error: tuple[str, ...] = ()
    status: tuple[tuple[int, int], ...] = ()
    code: tuple[str, ...] = ()
    category: tuple[Category, ...] = ()
    has_retry_after: bool | None = None
    when: Predicate | None = None
    schedule: Schedule | None = None
    limit: int | None = None
    too_long: OnError = OnError.FAIL
    classes: tuple[type, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_for_all(self) -> bool:
        """True without a condition."""
        listed = self.error or self.status or self.code or self.category
        return not listed and self.has_retry_after is None and self.when is None

    def matches(self, facts: ErrorFacts) -> bool:
        """Say whether all conditions hold; a predicate that raises does not."""
        return (
            (not self.category or facts.category in self.category)
            and (self.has_retry_after is None or self.has_retry_after is (facts.retry_after is not None))
            and (not self.status or _in_ranges(facts.status, self.status))
            and (not self.code or any(code.lower() in self.code for code in facts.codes))
            and (not self.error or any(_is_named(name, wanted) for name in facts.names for wanted in self.error))
            and (self.when is None or _holds(self.when, facts))
        )

    def covers(self, other: Rule) -> bool:
        """Say whether all that *other* matches is matched by this rule too, as far as the data say."""
        if self.when is not None and self.when is not other.when:
            return False
        return (
            (self.has_retry_after is None or self.has_retry_after is other.has_retry_after)
            and (not self.category or (bool(other.category) and set(other.category) <= set(self.category)))
            and (not self.code or (bool(other.code) and set(other.code) <= set(self.code)))
            and (not self.status or (bool(other.status) and _all_in(other.status, self.status)))
            and (not self.error or (bool(other.error) and all(self._covers_name(n, other) for n in other.error)))
        )

    def _covers_name(self, name: str, other: Rule) -> bool:
        kinds = [kind for kind in other.classes if class_name(kind) == name]
        names = [name, *(class_name(base) for kind in kinds for base in kind.__mro__)]
        return any(_is_named(one, wanted) for one in names for wanted in self.error)

    def __str__(self) -> str:
        shown = {
            "error": ", ".join(self.error),
            "status": ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in self.status),
            "code": ", ".join(self.code),
            "category": ", ".join(self.category),
            "Retry-After": "" if self.has_retry_after is None else str(self.has_retry_after),
            "when": getattr(self.when, "__name__", "a predicate") if self.when else "",
        }
        conditions = "; ".join(f"{name} {value}" for name, value in shown.items() if value)
        return f"{self.action} on {conditions or 'everything'}"


def rule(
    action: OnError | str,
    *,
    error: type[BaseException] | str | Iterable[type[BaseException] | str] = (),
    status: int | str | range | Iterable[int | str | range] = (),
    code: str | Iterable[str] = (),
    category: Category | str | Iterable[Category | str] = (),
    has_retry_after: bool | None = None,
    when: Predicate | None = None,
    schedule: Schedule | None = None,
    limit: int | None = None,
    too_long: OnError | str = OnError.FAIL,
) -> Rule:
    """Make a rule. All conditions given must hold; of several values of one condition, any.

    Args:
        action: "retry", "defer", "fail", "dead_letter" or "ask".
        error: exception classes or their names; ``"RateLimitError"`` for any package's,
            ``"openai.RateLimitError"`` for one's. Subclasses match too.
        status: HTTP statuses: 503, "5xx" or ``range(500, 600)``.
        code: the provider's own words, as ``"insufficient_quota"``; case does not matter.
        category: categories, as "rate_limit".
        has_retry_after: True for errors where the provider said when to come back, False for others.
        when: a function of the :class:`ErrorFacts`. A policy with one cannot be kept in the ledger.
        schedule: the pauses. Default: the policy's.
        limit: how many attempts (where it retries) or deferrals (where it defers) the job may have at most.
        too_long: "fail", "dead_letter" or "ask" where the provider wants a longer pause than the policy allows.

    Raises StepDefinitionError for values that cannot be meant.
    """
    kinds = _listed(error)
    made = Rule(
        action=a_word("action", action, OnError),
        error=tuple(_name_of(kind) for kind in kinds),
        status=tuple(_range_of(value) for value in _listed(status)),
        code=tuple(_text("code", value).lower() for value in _listed(code)),
        category=tuple(a_word("category", value, Category) for value in _listed(category)),
        has_retry_after=has_retry_after,
        when=when,
        schedule=schedule,
        limit=limit,
        too_long=a_word("action", too_long, OnError),
        classes=tuple(kind for kind in kinds if isinstance(kind, type)),
    )
    _check(made)
    return made


def _check(made: Rule) -> None:
    if made.when is not None and not callable(made.when):
        raise refusal(f"when= of a rule is {show(made.when)}, must be a function of the error's facts")
    if made.has_retry_after not in (None, True, False):
        raise refusal(f"has_retry_after= of a rule is {show(made.has_retry_after)}, must be True, False or None")
    if made.schedule is not None and not isinstance(made.schedule, Schedule):
        raise refusal(f"the schedule of a rule is {show(made.schedule)}, must be Exponential, Ladder or Fixed")
    if made.limit is not None:
        a_count("the limit of a rule", made.limit, least=1)
    if made.action.is_final and (made.schedule is not None or made.limit is not None):
        raise refusal(f"the rule '{made}' never tries again, so its schedule and limit mean nothing: drop them")
    if not made.too_long.is_final:
        raise refusal(f"too_long of a rule is {made.too_long.value!r}, must be fail, dead_letter or ask")


def _listed(value: Any) -> list[Any]:
    if isinstance(value, (str, int, range, type)):
        return [value]
    if not isinstance(value, Iterable):
        raise refusal(f"a condition of a rule is {show(value)}, must be one value or a list of them")
    return list(value)


def _name_of(kind: object) -> str:
    if isinstance(kind, type):
        if not issubclass(kind, BaseException):
            raise refusal(f"error={kind.__qualname__} of a rule is no exception class, so it can never match")
        return class_name(kind)
    name = _text("error", kind)
    if not all(part.isidentifier() or part == "<locals>" for part in name.split(".")):
        raise refusal(f"error={name!r} of a rule is no class name, so it can never match: use 'package.Class'")
    return name.removeprefix("builtins.")


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refusal(f"{what}={show(value)} of a rule can never match: give a word")
    return value.strip()


def _range_of(value: object) -> tuple[int, int]:
    if isinstance(value, range) and value.step == 1 and len(value):
        low, high = value.start, value.stop - 1
    elif isinstance(value, str) and re.fullmatch(r"[1-5]xx", value):
        low, high = int(value[0]) * 100, int(value[0]) * 100 + 99
    elif isinstance(value, int) and not isinstance(value, bool):
        low = high = value
    else:
        raise refusal(f"status={show(value)} of a rule must be a number, a range, or text such as '5xx'")
    if not 100 <= low <= high <= 599:
        raise refusal(f"status={show(value)} of a rule can never match: HTTP statuses are 100 to 599")
    return low, high


def _in_ranges(status: int | None, ranges: tuple[tuple[int, int], ...]) -> bool:
    return status is not None and any(low <= status <= high for low, high in ranges)


def _all_in(inner: tuple[tuple[int, int], ...], outer: tuple[tuple[int, int], ...]) -> bool:
    return all(_in_ranges(status, outer) for low, high in inner for status in range(low, high + 1))


def _is_named(name: str, wanted: str) -> bool:
    """Say whether *wanted* names the class *name*: its bare name, with any of its packages."""
    if name == wanted:
        return True
    package, _, bare = wanted.rpartition(".")
    return name.rpartition(".")[2] == bare and (not package or name.startswith(f"{package}."))


def _holds(predicate: Predicate, facts: ErrorFacts) -> bool:
    try:
        return bool(predicate(facts))
    except BaseException as error:  # a person's function must not change how a job ends
        if is_stop(error):
            raise
        name = getattr(predicate, "__name__", "predicate")
        logger.warning(
            "%s() of a retry rule raised %s for %s, so it does not match; fix it",
            *(name, type(error).__name__, facts.error_class),
        )
        return False
