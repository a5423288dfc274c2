"""The limits that a step declares: of jobs that run at once, of those that start in a time, of their tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agentq.policies.checks import a_count, a_number, refusal
from agentq.policies.limits.keys import Key, check_name_and_key
from agentq.redaction import show

MOST_SLOTS = 1_000_000
MOST_STARTS = 10_000_000
MOST_TOKENS = 2_000_000_000
"""The largest number of tokens that a limit or an estimate may have."""
SHORTEST, LONGEST = 0.1, 366 * 86_400.0
"""Seconds of a period."""
_SHARE_AT_ONCE = 10
"""The part of a period's tokens that may be spent at once, where nothing else is said: one of this number."""

Estimate = str | int | Callable[..., Any]
"""The source of an estimate: a parameter's name, a number, or a function of the arguments."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """A limit of the number of jobs that may run at once.

    Args:
        name: the limit's name. Steps that give the same name share the limit.
        limit: the number of jobs that may run at once; from 1.
        key: divides the limit: each value of the key has its own *limit* slots. The name of a parameter
            (``"model"``), a template (``"{tenant}"``, ``"{provider}:{model}"``; ``tenant`` is the workflow's), or
            a function that is called with the step's arguments and returns text or a whole number. It is read
            when all that it needs is known: at the start, or with the result of the step before. A job whose key
            is None does not have this limit. Default: one limit for all.
        strict: where an attempt is lost with its worker, or cancelled while it runs, its slot is kept until its
            code cannot run any more: for ``hard_timeout`` seconds from its start. The step needs a hard timeout.

    Raises StepDefinitionError for a name, number or key that makes no sense.
    """

    name: str
    limit: int = field(kw_only=True)
    key: Key = field(default=None, kw_only=True)
    strict: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_name_and_key(self.name, self.key)
        a_count(f"the limit of Concurrency({self.name!r})", self.limit, least=1, most=MOST_SLOTS)
        if not isinstance(self.strict, bool):
            raise refusal(f"strict of Concurrency({self.name!r}) is {show(self.strict)}, must be True or False")


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of the number of attempts that may start in a time: in no period are there more than *limit*.

    They are spread evenly over the period, but for a *burst*. Each attempt counts, so a retry counts again.

    Args:
        name: the limit's name. Together with other limits of this name and key it is one limit.
        limit: the number of attempts that may start in a period; from 1.
        per: seconds of the period; from 0.1 to a year.
        burst: how many may start at once after a pause; they count within *limit*, so the others of the period
            are spread over it: a larger burst makes the steady rate ``limit - burst`` a period.
        key: divides the limit, as for ``Concurrency``.

    Raises StepDefinitionError for a name, number or key that makes no sense.
    """

    name: str
    limit: int = field(kw_only=True)
    per: float = field(kw_only=True)
    burst: int = field(default=1, kw_only=True)
    key: Key = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name_and_key(self.name, self.key)
        _check_period(f"Rate({self.name!r})", self.limit, self.per, self.burst, MOST_STARTS)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A limit of the tokens that attempts may use in a time.

    An attempt reserves its estimate when it starts. At its end the tokens count that it says with
    ``ctx.used(tokens=…)``; where it says nothing, the estimate does.

    Args:
        name: the limit's name. Together with other limits of this name and key it is one limit.
        limit: the number of tokens of a period.
        per: seconds of the period; from 0.1 to a year.
        estimate: the tokens of one attempt: the name of a parameter (``"max_tokens"``), a number, or a function
            that is called with the step's arguments. An attempt with more than *burst* starts when no other has
            used any for a while, and later ones wait for it.
        burst: how many may be used at once after a pause; they count within *limit*. Default: a tenth of it.
        key: divides the limit, as for ``Concurrency``.

    Raises StepDefinitionError for a name, number, estimate or key that makes no sense.
    """

    name: str
    limit: int = field(kw_only=True)
    per: float = field(kw_only=True)
    estimate: Estimate = field(kw_only=True)
    burst: int | None = field(default=None, kw_only=True)
    key: Key = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name_and_key(self.name, self.key)
        what = f"Tokens({self.name!r})"
        if isinstance(self.estimate, int):
            a_count(f"the estimate of {what}", self.estimate, most=MOST_TOKENS)
        elif not callable(self.estimate) and not (isinstance(self.estimate, str) and self.estimate.isidentifier()):
            raise refusal(
                f"the estimate of {what} is {show(self.estimate)}, must be a parameter's name, a whole number, or "
                "a function of the arguments"
            )
        _check_period(what, self.limit, self.per, 1 if self.burst is None else self.burst, MOST_TOKENS)

    @property
    def at_once(self) -> int:
        """The tokens that may be used at once."""
        return max(1, self.limit // _SHARE_AT_ONCE) if self.burst is None else self.burst


@dataclass(frozen=True, slots=True)
class Cooldown:
    """A pause of all jobs of a limit after a provider has refused the call of one: too many requests, or overload.

    The job of the refused call waits in the line of the limit, as a deferral of its policy: no attempt is burned.
    For as long as the provider says, or else for 1 s, and twice as long after each further refusal up to a minute,
    no job of the limit is admitted. Then one is, and twice as many after each success.

    Args:
        name: the limit's name. Together with other limits of this name and key it is one limit.
        key: divides the limit, as for ``Concurrency``.

    Raises StepDefinitionError for a name or key that makes no sense.
    """

    name: str
    key: Key = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_name_and_key(self.name, self.key)


Element = Concurrency | Rate | Tokens | Cooldown
"""One limit, or one meter of a limit, as a step declares it."""


def _check_period(what: str, limit: int, per: float, burst: int, most: int) -> None:
    a_count(f"the limit of {what}", limit, least=1, most=most)
    a_number(f"per, the seconds of {what},", per, least=SHORTEST, most=LONGEST)
    a_count(f"the burst of {what}", burst, least=1, most=max(1, limit - 1))
