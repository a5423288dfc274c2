"""Tenants: the weights of their turns in the lines of limits, and how many of their workflows may be open."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import String, bindparam, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from agentq.exceptions import StateConflict
from agentq.ledger.after_commit import LetIn
from agentq.ledger.backlog import line_of
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import TenantChangeRow, TenantRow
from agentq.ledger.transaction import Transaction


def _upsert(column: str) -> dict[str, Any]:
    """Return the statements that set a column of a tenant, by the name of the database."""

    def of(dialect: Any) -> Any:
        new = dialect.insert(TenantRow)
        return new.on_conflict_do_update(index_elements=["tenant"], set_={column: new.excluded[column]})

    return {dialect.dialect.name: of(dialect) for dialect in (postgresql, sqlite)}


_SET_WEIGHT, _SET_MAX_OPEN = _upsert("weight"), _upsert("max_open")
_LOCK = (
    select(TenantRow.max_open, TenantRow.weight)
    .where(TenantRow.tenant == bindparam("of_tenant", type_=String()))
    .with_for_update(key_share=True)
)
_CHANGE = select(TenantChangeRow.__table__).where(TenantChangeRow.id == bindparam("change"))


def set_weight(
    tx: Transaction, tenant: str, weight: float, *, actor: str, reason: str, action_id: uuid.UUID
) -> None:
    """Let a tenant have this weight from its next turn on; once for each *action_id*."""
    if _find(tx, action_id) is None:
        before = _lock(tx, tenant)
        tx.connection.execute(_SET_WEIGHT[tx.connection.dialect.name], {"tenant": tenant, "weight": weight})
        weights = {"weight_before": 1.0 if before is None else before.weight, "weight_after": weight}
        _note(tx, {"id": action_id, "tenant": tenant, "actor": actor, "reason": reason, **weights})


def set_max_open(
    tx: Transaction, tenant: str, max_open: int | None, *, actor: str, reason: str, action_id: uuid.UUID
) -> AnyRow:
    """Set the cap of a tenant's open workflows; None for the one of code.

    Returns the row of the change, the same one where *action_id* was done before. Raises StateConflict where the
    tenant has none of its own to clear.
    """
    done = _find(tx, action_id)
    if done is not None:
        return done
    row = _lock(tx, tenant)
    before = None if row is None else row.max_open
    if before is None and max_open is None:
        raise StateConflict(
            f"tenant {tenant}", expected=["one with a max_open of its own"], found="one with that of code"
        )
    tx.connection.execute(_SET_MAX_OPEN[tx.connection.dialect.name], {"tenant": tenant, "max_open": max_open})
    tx.then(LetIn(line_of("max_open", tenant)))
    caps = {"before": before, "after": max_open}
    _note(tx, {"id": action_id, "tenant": tenant, "actor": actor, "reason": reason, **caps})
    return tx.connection.execute(_CHANGE, {"change": action_id}).one()


def _find(tx: Transaction, action_id: uuid.UUID) -> AnyRow | None:
    return tx.connection.execute(_CHANGE, {"change": action_id}).one_or_none()


def _lock(tx: Transaction, tenant: str) -> AnyRow | None:
    return tx.connection.execute(_LOCK, {"of_tenant": tenant}).one_or_none()


def _note(tx: Transaction, change: dict[str, Any]) -> None:
    tx.connection.execute(insert(TenantChangeRow), change)
