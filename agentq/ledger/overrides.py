"""Overrides: the slots that an operator sets in place of those that code declares."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, bindparam, insert, null, select, update

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger.after_commit import Admit
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import LimitChangeRow, LimitRow
from agentq.ledger.moves.limits import IS_OVERRIDDEN, SLOTS
from agentq.ledger.transaction import Transaction

_NAME = bindparam("limit", type_=String())
_LOCK = (
    select(
        SLOTS.label("slots"),
        LimitRow.declared,
        IS_OVERRIDDEN.label("is_overridden"),
        now().label("read_at"),
    )
    .where(LimitRow.name == _NAME)
    .with_for_update(key_share=True)
)
_WRITE = update(LimitRow).where(LimitRow.name == _NAME)
_NONE: dict[str, Any] = {"override": null(), "override_until": null(), "actor": null(), "reason": null()}
_CHANGE = select(LimitChangeRow.__table__).where(LimitChangeRow.id == bindparam("change"))


def change(
    tx: Transaction,
    name: str,
    slots: int,
    until: datetime | float | None,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID,
) -> AnyRow | None:
    """Set the slots of a limit, *until* a time, or for seconds; its jobs are admitted after the commit.

    Returns the row of the change, the same one where *action_id* was done before; None where there is no such
    limit. Raises InvalidArguments for an end that has passed.
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
    override = {"override": slots, "override_until": end, "actor": actor, "reason": reason}
    tx.connection.execute(_WRITE.values(override), {"limit": name})
    who = {"actor": actor, "reason": reason}
    return _noted(tx, {"id": action_id, "name": name, "before": limit.slots, "after": slots, "until": end} | who)


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
    who = {"actor": actor, "reason": reason}
    return _noted(tx, {"id": action_id, "name": name, "before": limit.slots, "after": limit.declared} | who)


def _locked(tx: Transaction, name: str) -> AnyRow | None:
    return tx.connection.execute(_LOCK, {"limit": name}).one_or_none()


def _change(tx: Transaction, change_id: uuid.UUID) -> AnyRow | None:
    return tx.connection.execute(_CHANGE, {"change": change_id}).one_or_none()


def _noted(tx: Transaction, values: dict[str, Any]) -> AnyRow | None:
    tx.connection.execute(insert(LimitChangeRow), values)
    tx.then(Admit(values["name"]))
    return _change(tx, values["id"])
