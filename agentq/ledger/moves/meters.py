"""The meters of a limit: what is in force of them, the room that they leave, and what code declares.

Starts and tokens are counted by GCRA, the generic cell rate algorithm: a limit remembers when its next start would
be due if all came evenly, a *gap* after each other. A start may come before that, by as much as the burst allows.
So a pause is worth a burst, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, NamedTuple

from sqlalchemy import (
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from agentq.ids import new_id
from agentq.ledger.db.types import AnyRow, clock, greatest, in_code_order, least, now, whole
from agentq.ledger.models import LimitChangeRow, LimitRow
from agentq.ledger.transaction import Transaction
from agentq.policies.limits import Meters, PerTime
from agentq.policies.limits_file import LimitsFile

SOON = 0.1
"""Seconds before its start at which a job is admitted at the earliest: no message waits for long."""
_MANY = literal_column("1000000000", Integer())
"""The room that a meter leaves which a limit does not have."""
_NO_TIME = literal_column("0.0", Float())
_ZERO, _ONE = literal_column("0", Integer()), literal_column("1", Integer())

_has_not_ended = or_(LimitRow.override_until.is_(None), LimitRow.override_until > now())
IS_OVERRIDDEN = and_(
    or_(
        LimitRow.override.is_not(None), LimitRow.override_rate.is_not(None), LimitRow.override_tokens.is_not(None)
    ),
    _has_not_ended,
)
"""A limit of which an operator has set a meter, until a time that has not come."""


def _in_force(set_to: Any, declared: Any, of: Any) -> Any:
    return case((and_(of.is_not(None), _has_not_ended), set_to), else_=declared)


SLOTS = _in_force(LimitRow.override, LimitRow.declared, LimitRow.override)
"""The slots of a limit that are in force; NULL for any number."""
IS_OPEN = or_(LimitRow.cooldown_until.is_(None), LimitRow.cooldown_until <= now())
"""A limit that does not cool."""
AT_ONCE = case(
    (LimitRow.ramp.is_(None), SLOTS), else_=least(LimitRow.ramp + LimitRow.carried, func.coalesce(SLOTS, _MANY))
)
"""The jobs that may hold a limit which is open: its slots, or fewer in the ramp after a cooldown; NULL for any
number."""


class _PerTime(NamedTuple):
    """A meter of a limit by time, as columns: what is in force of it; limit and gap are NULL where it has none."""

    limit: Any
    per: Any
    burst: Any
    gap: Any
    """Seconds from one to the next."""
    due: Any
    """The time at which the next one is due, where they come evenly."""

    @property
    def lead(self) -> Any:
        """Seconds by which those that came are ahead of an even pace now."""
        return greatest(self.due - clock(), _NO_TIME)


def _per_time(set_to: Any, set_per: Any, declared: Any, declared_per: Any, burst: Any, due: Any) -> _PerTime:
    limit, per = _in_force(set_to, declared, set_to), _in_force(set_per, declared_per, set_to)
    at_once = least(func.coalesce(burst, _ONE), greatest(limit - _ONE, _ONE))
    return _PerTime(limit, per, at_once, per / greatest(limit - at_once, _ONE), due)


RATE = _per_time(
    LimitRow.override_rate,
    LimitRow.override_rate_per,
    LimitRow.rate,
    LimitRow.rate_per,
    LimitRow.rate_burst,
    LimitRow.rate_due,
)
"""The starts of a limit."""
TOKENS = _per_time(
    LimitRow.override_tokens,
    LimitRow.override_tokens_per,
    LimitRow.tokens,
    LimitRow.tokens_per,
    LimitRow.tokens_burst,
    LimitRow.tokens_due,
)
"""The tokens of a limit."""

IN_FORCE = (
    SLOTS.label("slots"),
    RATE.limit.label("rate"),
    RATE.per.label("rate_per"),
    TOKENS.limit.label("tokens"),
    TOKENS.per.label("tokens_per"),
    LimitRow.rate.label("declared_rate"),
    LimitRow.rate_per.label("declared_rate_per"),
    LimitRow.tokens.label("declared_tokens"),
    LimitRow.tokens_per.label("declared_tokens_per"),
    LimitRow.declared,
)
"""The columns of a limit's meters: those that are in force, and those that code declares."""
_soon = literal_column(str(SOON), Float())
_can_start_soon = whole((_soon - RATE.lead) / RATE.gap + RATE.burst) - LimitRow.outstanding
# The next job may need few: whether it needs more than there are is asked when it is known.
_tokens_left = case(
    (TOKENS.lead + (LimitRow.outstanding_tokens - TOKENS.burst) * TOKENS.gap <= _soon, _MANY), else_=_ZERO
)
ROOM = case(
    (~IS_OPEN, _ZERO),
    else_=least(
        func.coalesce(AT_ONCE - LimitRow.used, _MANY),
        case((RATE.limit.is_not(None), _can_start_soon), else_=_MANY),
        case((TOKENS.limit.is_not(None), _tokens_left), else_=_MANY),
    ),
)
"""The number of jobs that may be admitted to a limit now: the least that one of its meters leaves."""
_owed = TOKENS.lead + LimitRow.outstanding_tokens * TOKENS.gap
TOKENS_LEFT: tuple[Any, ...] = (
    func.coalesce(_owed, _NO_TIME).label("tokens_owed"),
    func.coalesce(TOKENS.gap, _NO_TIME).label("tokens_gap"),
    TOKENS.burst.label("tokens_burst"),
)
"""The columns that say how many tokens are left: the seconds owed for those that are taken, and the pace."""
MORE_TOKENS = bindparam("more_tokens", type_=Float())
"""The tokens that an attempt has used beyond those that it had reserved."""
TOKENS_DUE_AFTER = LimitRow.tokens_due + func.coalesce(MORE_TOKENS * TOKENS.gap, _NO_TIME)
"""The time at which the next token of a limit is due, after an attempt has used more than it had reserved."""
# Written as the index of these rows has it: SQLite takes that for no other text.
HAS_ROOM = and_(text("agentq_limits.is_awaited"), ROOM > _ZERO)
"""A limit with room, which jobs may wait for."""

_RECONCILE = (
    update(LimitRow)
    .where(LimitRow.name == bindparam("limit", type_=String()), TOKENS.limit.is_not(None))
    .values(tokens_due=TOKENS_DUE_AFTER)
)

_LIMIT, _PREFIX = bindparam("limit", type_=String()), bindparam("prefix", type_=String())
_NUMBERS = ("declared", "rate", "rate_per", "rate_burst", "tokens", "tokens_per", "tokens_burst", "is_strict")
_COLUMNS = (*_NUMBERS, "from_file")
_declared = {name: bindparam(f"new_{name}", type_=LimitRow.__table__.c[name].type) for name in _COLUMNS}
_upserts = {dialect.dialect.name: dialect for dialect in (postgresql, sqlite)}
_DECLARE = {
    name: dialect.insert(LimitRow).on_conflict_do_nothing(index_elements=["name"])
    for name, dialect in _upserts.items()
}
# Of steps that declare different meters of one limit: the first job has written only its own.
_LACKING = (
    select(LimitRow.name, *(getattr(LimitRow, name) for name in _COLUMNS))
    .where(
        LimitRow.name == _LIMIT,
        or_(
            *(
                and_(getattr(LimitRow, name).is_(None), _declared[name].is_not(None))
                for name in ("declared", "rate", "tokens")
            )
        ),
    )
    .with_for_update(key_share=True)
)
_COMPLETE = (
    update(LimitRow)
    .where(LimitRow.name == _LIMIT)
    .values(
        {name: func.coalesce(getattr(LimitRow, name), _declared[name]) for name in _COLUMNS}
        | {"is_strict": or_(LimitRow.is_strict, _declared["is_strict"]), "from_file": _declared["from_file"]}
    )
)
_DECLARED_OTHERWISE = select(LimitRow.name).where(
    or_(LimitRow.name == _LIMIT, func.substr(LimitRow.name, 1, func.length(_PREFIX)) == _PREFIX),
    or_(
        LimitRow.name.in_(bindparam("in_file", type_=String(), expanding=True)),
        *(getattr(LimitRow, name).is_distinct_from(value) for name, value in _declared.items()),
    ),
)
_LOCK_ALL = (
    select(LimitRow.name, *(getattr(LimitRow, name) for name in _COLUMNS))
    .where(LimitRow.name.in_(bindparam("limits", type_=String(), expanding=True)))
    .order_by(in_code_order(LimitRow.name))
    .with_for_update(key_share=True)
)
_REDECLARE = update(LimitRow).where(LimitRow.name == _LIMIT).values(_declared)
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(7241002)")
_BY_CODE = "the code of a worker that started declares this number"
_BY_STEP = "another step of this limit declares it too"
_BY_FILE = "the limits file of a worker that started has this number"


def declare(tx: Transaction, meters: Mapping[str, Meters]) -> None:
    """Write the limits that are not there yet, by name with what code declares; and meters that they lack."""
    rows = [{"name": name, **_values(meters[name])} for name in sorted(meters)]
    if not rows:
        return
    tx.connection.execute(_DECLARE[tx.connection.dialect.name], rows)
    for row in rows:
        if row["rate"] is not None or row["tokens"] is not None:
            _complete(tx, row["name"], meters[row["name"]], row)


def _complete(tx: Transaction, limit: str, meters: Meters, row: dict[str, Any]) -> None:
    """Let a limit have meters that it lacks, and note the change: starts from before did not go by them."""
    values = _bound(row) | {"limit": limit}
    before = tx.connection.execute(_LACKING, values).one_or_none()
    if before is None:
        return
    values["new_from_file"] = _words({*(before.from_file or "").split(), *meters.in_file})
    tx.connection.execute(_COMPLETE, values)
    change = {"id": new_id(), "name": limit, "actor": "agentq", "reason": _BY_STEP}
    after = Meters(
        meters.slots if before.declared is None else before.declared,
        rate=meters.rate if before.rate is None else None,
        tokens=meters.tokens if before.tokens is None else None,
    )
    change |= _change(before, after)
    change |= {f"{name}_after": change[f"{name}_after"] or change[f"{name}_before"] for name in ("rate", "tokens")}
    tx.connection.execute(insert(LimitChangeRow), change)


def redeclare(tx: Transaction, meters: Mapping[str, Meters], file: LimitsFile) -> None:
    """Let limits, with each of their keys, have the *meters* that code declares now, and note each change.

    Numbers of the limits *file*, of a limit or of one key, hold in place of the code's.
    """
    changed = _declared_otherwise(tx, meters, file)
    if changed and tx.connection.dialect.name == "postgresql":
        # Of two that declare at one time, the later one sees all that the other has written: no mixture stays.
        tx.connection.execute(_ONE_AT_A_TIME)
        changed = _declared_otherwise(tx, meters, file)
    # All together: the keys of one limit may stand between other limits in the order of the names.
    for row in tx.connection.execute(_LOCK_ALL, {"limits": sorted(changed)}).all() if changed else ():
        limit = row.name if row.name in meters else row.name.partition(":")[0]
        declared = file.meters_of(row.name, meters[limit])
        values = _values(declared)
        if _differ(row, values, _COLUMNS):
            tx.connection.execute(_REDECLARE, _bound(values) | {"limit": row.name})
        if _differ(row, values, _NUMBERS):
            why = _BY_FILE if file.names & {row.name, limit} else _BY_CODE
            change = {"id": new_id(), "name": row.name, "actor": "agentq", "reason": why}
            tx.connection.execute(insert(LimitChangeRow), change | _change(row, declared))


def _declared_otherwise(tx: Transaction, meters: Mapping[str, Meters], file: LimitsFile) -> set[str]:
    """Return the limits whose numbers may be others than those of code and *file*."""
    found: set[str] = set()
    for limit, of_code in meters.items():
        of_all, prefix = file.meters_of(limit, of_code), None if ":" in limit else f"{limit}:"
        of_limit: dict[str, Any] = {"limit": limit, "prefix": prefix, "in_file": sorted(file.names)}
        found |= set(tx.connection.scalars(_DECLARED_OTHERWISE, _bound(_values(of_all)) | of_limit))
    return found


def reconcile(tx: Transaction, more: Mapping[str, int]) -> None:
    """Let limits count the tokens that an attempt has used, by name how many *more* than it had reserved.

    It locks limits: after all jobs of the transaction.
    """
    for name in sorted(more):
        tx.connection.execute(_RECONCILE, {"limit": name, "more_tokens": more[name]})


def _values(meters: Meters) -> dict[str, Any]:
    rate, tokens = meters.rate, meters.tokens
    return {
        "declared": meters.slots,
        "is_strict": meters.is_strict,
        "rate": rate and rate.limit,
        "rate_per": rate and rate.per,
        "rate_burst": rate and rate.burst,
        "tokens": tokens and tokens.limit,
        "tokens_per": tokens and tokens.per,
        "tokens_burst": tokens and tokens.burst,
        "from_file": _words(meters.in_file),
    }


def _words(names: Set[str]) -> str | None:
    return " ".join(sorted(names)) or None


def _differ(row: AnyRow, values: Mapping[str, Any], names: Iterable[str]) -> bool:
    return any(getattr(row, name) != values[name] for name in names)


def _bound(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": values[name] for name in _COLUMNS}


def _change(row: AnyRow, meters: Meters) -> dict[str, Any]:
    return {
        "before": row.declared,
        "after": meters.slots,
        "rate_before": _text(row.rate, row.rate_per),
        "rate_after": meters.rate and meters.rate.text,
        "tokens_before": _text(row.tokens, row.tokens_per),
        "tokens_after": meters.tokens and meters.tokens.text,
    }


def _text(limit: int | None, per: float | None) -> str | None:
    return None if limit is None or per is None else PerTime(limit, per, 1).text
