"""Limits: list, get, change, clear, pause, resume, cool."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments, NotFound, nearest
from agentq.ledger import overrides
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.overrides import NewMeters
from agentq.ledger.queries import jobs as job_queries
from agentq.ledger.queries import limits
from agentq.ledger.queries.limits import MOST
from agentq.ledger.transaction import Transaction
from agentq.operations import jobs
from agentq.operations.actors import operator_action
from agentq.operations.checks import storable
from agentq.operations.schemas import (
    CoolingLimit,
    Hold,
    Limit,
    LimitChange,
    LimitDetails,
    LineOfTenant,
    NumberPerTime,
    Override,
    Sources,
)
from agentq.operations.until import Until, checked_until
from agentq.policies.limits.elements import LONGEST, MOST_SLOTS, MOST_STARTS, MOST_TOKENS, SHORTEST
from agentq.redaction import show
from agentq.states import MeterSource

MOST_SHOWN = 100
"""Tenants in the line of one limit, and jobs that hold a slot of it, that are listed."""
MOST_CHANGES = 10
"""Changes of one limit that are listed."""
LONGEST_COOLDOWN = 86_400.0
"""Seconds that an operator may let a limit cool."""


def list_(ledger: Ledger, *, limit: int = 50) -> list[Limit]:
    """Return up to *limit* limits that jobs have used, by name, those first that jobs may wait for."""
    return [Limit(**_limit(row)) for row in ledger.read(partial(limits.find, most=limit))]


def named(ledger: Ledger, names: Collection[str]) -> list[Limit]:
    """Return the limits that have these *names*, in their order; a name without a limit is left out."""
    return [Limit(**_limit(row)) for row in ledger.read(partial(limits.named, names=names))]


def get(ledger: Ledger, name: str) -> LimitDetails:
    """Return everything about one limit, by its name with the key; raises NotFound."""
    storable(name)

    row, lines, holders, holds, changes = ledger.read(
        lambda connection: (
            limits.get(connection, name),
            limits.lines_of_tenants(connection, name, MOST_SHOWN),
            job_queries.find(
                connection, job_queries.with_ids(limits.holders(connection, name, MOST_SHOWN)), MOST_SHOWN
            ),
            limits.holds(connection, name, MOST_SHOWN),
            limits.changes(connection, name, MOST_CHANGES),
        )
    )
    return LimitDetails(
        **_limit(_found(ledger, name, row)),
        tenants=[_line(line) for line in lines],
        holders=jobs.summaries(holders),
        holds=[Hold.model_validate(one) for one in holds],
        changes=[LimitChange.model_validate(one) for one in changes],
    )


def change(
    ledger: Ledger,
    name: str,
    slots: int | None = None,
    *,
    rate: tuple[int, float] | None = None,
    tokens: tuple[int, float] | None = None,
    reason: str,
    until: Until = None,
    actor: str = "",
) -> LimitChange:
    """Set meters of a limit, in place of those that code declares, and of an earlier change.

    Jobs are admitted to the new room at once, or by a caretaker within a second or two. Those that hold a slot go
    on where there are fewer now: none is admitted until fewer hold one.

    Args:
        ledger: where.
        name: the limit, with its key: ``model:gpt-5``.
        slots: the number of jobs that may run at once, up to a million; 0 admits none.
        rate: the number of attempts that may start in a period, and its seconds: ``(500, 60)``.
        tokens: the number of tokens that attempts may use in a period, and its seconds.
        reason: why, for the history, and for those whose jobs wait.
        until: when the declared meters hold again. Default: when it is cleared.
        actor: who, for the history. Default: the name of the process's user.

    A meter that is None is as declared. Raises NotFound for a limit that no job has used; InvalidArguments, also
    for a rate or tokens of a limit for which code declares none.
    """
    if slots is None and rate is None and tokens is None:
        raise InvalidArguments("nothing to set: give slots, rate or tokens; clear() brings back the declared ones")
    if slots is not None:
        _require_count("slots", slots, 0, MOST_SLOTS)
    meters = NewMeters(slots, _per_time("rate", rate, MOST_STARTS), _per_time("tokens", tokens, MOST_TOKENS))
    _require_reason(reason)
    until = checked_until(until)
    action = operator_action(actor, reason)
    return _write(ledger, name, lambda tx: overrides.change(tx, name, meters, until, **action))


def cool(ledger: Ledger, name: str, seconds: float, *, reason: str, actor: str = "") -> LimitChange:
    """Let a limit cool: admit no job of it for *seconds*, then one, and twice as many after each success.

    It takes the place of any cooldown of the limit, so 0 seconds end one.

    Args:
        ledger: where.
        name: the limit, with its key.
        seconds: from now, from 0 to a day.
        reason: why, for the history, and for those whose jobs wait.
        actor: who, for the history. Default: the name of the process's user.

    Raises NotFound; InvalidArguments.
    """
    if not 0 <= seconds <= LONGEST_COOLDOWN:
        raise InvalidArguments(f"seconds is {seconds!r}; it must be from 0 to {LONGEST_COOLDOWN:.0f}, a day")
    _require_reason(reason)
    action = operator_action(actor, reason)
    return _write(ledger, name, lambda tx: overrides.cool(tx, name, seconds, **action))


def clear(ledger: Ledger, name: str, *, actor: str = "", reason: str = "") -> LimitChange:
    """Let a limit have the meters again that code declares.

    Args:
        ledger: where.
        name: the limit, with its key.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Raises NotFound; StateConflict where it has no override.
    """
    return _clear(ledger, name, actor, reason, is_resume=False)


def pause(ledger: Ledger, name: str, *, reason: str, until: Until = None, actor: str = "") -> LimitChange:
    """Admit no more jobs of a limit: ``change`` to 0 slots. Those that hold one go on."""
    return change(ledger, name, 0, reason=reason, until=until, actor=actor)


def resume(ledger: Ledger, name: str, *, actor: str = "", reason: str = "") -> LimitChange:
    """Let a paused limit have the slots again that code declares: ``clear``, of a limit with 0 slots.

    Raises NotFound; StateConflict where it is not paused.
    """
    return _clear(ledger, name, actor, reason, is_resume=True)


def _clear(ledger: Ledger, name: str, actor: str, reason: str, *, is_resume: bool) -> LimitChange:
    action = operator_action(actor, reason)
    return _write(ledger, name, lambda tx: overrides.clear(tx, name, is_resume=is_resume, **action))


def _write(ledger: Ledger, name: str, work: Callable[[Transaction], AnyRow | None]) -> LimitChange:
    storable(name)
    return LimitChange.model_validate(_found(ledger, name, ledger.write(work)))


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidArguments("a reason is needed: it is shown to all whose jobs wait for this limit")


def _require_count(what: str, number: object, least: int, most: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise InvalidArguments(f"{what} is {show(number)}; it must be a whole number from {least} to {most}")


def _per_time(what: str, given: tuple[int, float] | None, most: int) -> tuple[int, float] | None:
    if given is None:
        return None
    number, seconds = given
    _require_count(f"the number of {what}", number, 1, most)
    if not SHORTEST <= seconds <= LONGEST:
        raise InvalidArguments(
            f"the period of {what} is {seconds!r} seconds; it must be {SHORTEST} to {LONGEST:.0f}"
        )
    return number, float(seconds)


def _found(ledger: Ledger, name: str, found: AnyRow | None) -> AnyRow:
    if found is None:
        near = nearest(name, ledger.read(partial(limits.near, name=name)))
        raise NotFound(
            f"no limit has the name {show(name)}.{near} A limit is there once a job has used it, with its key; "
            "list them with: agentq limits list"
        )
    return found


def _limit(row: AnyRow) -> dict[str, Any]:
    override, cooldown = None, None
    if row.is_overridden:
        override = Override(
            slots=row.override,
            rate=_pair(row.override_rate, row.override_rate_per),
            tokens=_pair(row.override_tokens, row.override_tokens_per),
            until=row.override_until,
            actor=row.actor,
            reason=row.reason,
        )
    if row.cools or row.ramp is not None:
        seconds = limits.cools_for(row) or 0.0
        cooldown = CoolingLimit(until=row.cooldown_until, seconds=seconds, reason=row.cooldown_reason)
    return {
        **row._mapping,
        "rate": _pair(row.rate, row.rate_per),
        "declared_rate": _pair(row.declared_rate, row.declared_rate_per),
        "tokens": _pair(row.tokens, row.tokens_per),
        "declared_tokens": _pair(row.declared_tokens, row.declared_tokens_per),
        "sources": _sources(row, is_declared=False),
        "declared_sources": _sources(row, is_declared=True),
        "at_once": 0 if row.cools else row.at_once,
        "cooldown": cooldown,
        "override": override,
        **_count(row),
    }


def _sources(row: AnyRow, *, is_declared: bool) -> Sources:
    in_file = (row.from_file or "").split()
    found: dict[str, MeterSource | None] = {}
    for meter, declared, override in (
        ("slots", row.declared, row.override),
        ("rate", row.declared_rate, row.override_rate),
        ("tokens", row.declared_tokens, row.override_tokens),
    ):
        if row.is_overridden and override is not None and not is_declared:
            found[meter] = MeterSource.OVERRIDE
        elif declared is None:
            found[meter] = None
        else:
            found[meter] = MeterSource.FILE if meter in in_file else MeterSource.CODE
    return Sources(**found)


def _pair(limit: int | None, per: float | None) -> NumberPerTime | None:
    return None if limit is None or per is None else NumberPerTime(limit=limit, per=per)


def _line(row: AnyRow) -> LineOfTenant:
    return LineOfTenant(**{**row._mapping, **_count(row)})


def _count(row: AnyRow) -> dict[str, Any]:
    return {"waiting": min(row.waiting, MOST), "is_capped": row.waiting > MOST}
