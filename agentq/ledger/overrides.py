"""Overrides: the meters that an operator sets in place of those that code declares, and cooldowns."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, bindparam, insert, null, select, update

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import moves
from agentq.ledger.after_commit import Admit
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import LimitChangeRow, LimitRow
from agentq.ledger.moves.meters import IN_FORCE, IS_OVERRIDDEN
from agentq.ledger.transaction import Transaction

_NAME = bindparam("limit", type_=String())
_LOCK = (
    select(
        *IN_FORCE,
        IS_OVERRIDDEN.label("is_overridden"),
        now().label("read_at"),
    )
    .where(LimitRow.name == _NAME)
    .with_for_update(key_share=True)
)
_WRITE = update(LimitRow).where(LimitRow.name == _NAME)
_OVERRIDE = (
    *("override", "override_rate", "override_rate_per", "override_tokens", "override_tokens_per"),
    *("override_until", "actor", "reason"),
)
_NONE: dict[str, Any] = {name: null() for name in _OVERRIDE}
_CHANGE = select(LimitChangeRow.__table__).where(LimitChangeRow.id == bindparam("change"))


@dataclass(frozen=True, slots=True)
class NewMeters:
    """The meters that an operator sets: slots, and starts and tokens by their number and seconds.

    None leaves the declared one.
    """

    slots: int | None = None
    rate: tuple[int, float] | None = None
    tokens: tuple[int, float] | None = None


def change(
    tx: Transaction,
    name: str,
    meters: NewMeters,
    until: datetime | float | None,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID,
) -> AnyRow | None:
    """Set meters of a limit, *until* a time, or for seconds; its jobs are admitted after the commit.

    Returns the row of the change, the same one where *action_id* was done before; None where there is no such
    limit. Raises InvalidArguments for an end that has passed, and for a rate or tokens of a limit that has none.
    """
    limit = _locked(tx, name)
    if limit is None or (done := _change(tx, action_id)) is not None:
        return None if limit is None else done
    end = until if until is None or isinstance(until, datetime) else limit.read_at + timedelta(seconds=until)
    if end is not None and end <= limit.read_at:
        raise InvalidArguments(
            f"the override would end at {end:%Y-%m-%d %H:%M:%S} UTC, but it is {limit.read_at:%Y-%m-%d %H:%M:%S} "
            "UTC by the ledger's clock; give a time to come"
        )
    _require_declared(limit, name, meters)
    who = {"actor": actor, "reason": reason}
    override = {"override": meters.slots, "override_until": end, **who}
    override |= _pair("override_rate", meters.rate) | _pair("override_tokens", meters.tokens)
    tx.connection.execute(_WRITE.values(override), {"limit": name})
    change = {"id": action_id, "name": name, "until": end, **_before(limit), **who}
    change["after"] = limit.declared if meters.slots is None else meters.slots
    change["rate_after"] = _text(*(meters.rate or (limit.declared_rate, limit.declared_rate_per)))
    change["tokens_after"] = _text(*(meters.tokens or (limit.declared_tokens, limit.declared_tokens_per)))
    return _noted(tx, change)


def clear(
    tx: Transaction, name: str, *, is_resume: bool, actor: str, reason: str, action_id: uuid.UUID
) -> AnyRow | None:
    """Let a limit have its declared slots again; its jobs are admitted after the commit.

    Returns as ``change`` does. Raises StateConflict where it has no override; or, of a resume, where it is not
    paused.
    """
    limit = _locked(tx, name)
    if limit is None or (done := _change(tx, action_id)) is not None:
        return None if limit is None else done
    if not limit.is_overridden or (is_resume and limit.slots):
        raise StateConflict(
            f"limit {name}",
            expected=["paused" if is_resume else "overridden"],
            found="overridden" if limit.is_overridden else "as declared",
            next_step=f"Clear its override with: agentq limits clear {name}" if limit.is_overridden else "",
        )
    tx.connection.execute(_WRITE.values(_NONE), {"limit": name})
    change = {"id": action_id, "name": name, "actor": actor, "reason": reason, **_before(limit)}
    change |= {"after": limit.declared, "rate_after": _text(limit.declared_rate, limit.declared_rate_per)}
    return _noted(tx, change | {"tokens_after": _text(limit.declared_tokens, limit.declared_tokens_per)})


def cool(
    tx: Transaction, name: str, seconds: float, *, actor: str, reason: str, action_id: uuid.UUID
) -> AnyRow | None:
    """Let a limit cool for seconds from now, in place of any cooldown that it has; with 0 its ramp begins at once.

    Returns as ``change`` does.
    """
    limit = _locked(tx, name)
    if limit is None or (done := _change(tx, action_id)) is not None:
        return None if limit is None else done
    until = limit.read_at + timedelta(seconds=seconds)
    who = {"actor": actor, "reason": reason}
    moves.set_cooldown(tx, name, until, f"{actor}: {' '.join(reason.split())}")
    same = {"after": limit.slots, "rate_after": _text(limit.rate, limit.rate_per)}
    same |= {"tokens_after": _text(limit.tokens, limit.tokens_per)}
    change = {"id": action_id, "name": name, "cools_until": until, **_before(limit), **same, **who}
    return _noted(tx, change)


def _require_declared(limit: AnyRow, name: str, meters: NewMeters) -> None:
    for word, given, declared in (
        ("rate", meters.rate, limit.declared_rate),
        ("tokens", meters.tokens, limit.declared_tokens),
    ):
        if given is not None and declared is None:
            kind = "Rate" if word == "rate" else "Tokens"
            raise InvalidArguments(
                f"limit {name} has no {word} to set: its jobs ask for none. Give its steps a {kind}(…) of this "
                "name and key first; its slots can be set"
            )


def _pair(name: str, meter: tuple[int, float] | None) -> dict[str, Any]:
    limit, per = meter or (None, None)
    return {name: limit, f"{name}_per": per}


def _before(limit: AnyRow) -> dict[str, Any]:
    rate, tokens = _text(limit.rate, limit.rate_per), _text(limit.tokens, limit.tokens_per)
    return {"before": limit.slots, "rate_before": rate, "tokens_before": tokens}


def _text(limit: int | None, per: float | None) -> str | None:
    return None if limit is None else f"{limit}/{per:g}"


def _locked(tx: Transaction, name: str) -> AnyRow | None:
    return tx.connection.execute(_LOCK, {"limit": name}).one_or_none()


def _change(tx: Transaction, change_id: uuid.UUID) -> AnyRow | None:
    return tx.connection.execute(_CHANGE, {"change": change_id}).one_or_none()


def _noted(tx: Transaction, values: dict[str, Any]) -> AnyRow | None:
    tx.connection.execute(insert(LimitChangeRow), values)
    tx.then(Admit(values["name"]))
    return _change(tx, values["id"])
