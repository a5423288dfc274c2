"""Tenants: the weights of their turns in the lines of limits."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from agentq.ledger.models import TenantRow
from agentq.ledger.transaction import Transaction


def _upsert(dialect: Any) -> Any:
    new = dialect.insert(TenantRow)
    return new.on_conflict_do_update(index_elements=["tenant"], set_={"weight": new.excluded.weight})


_SET_WEIGHT = {dialect.dialect.name: _upsert(dialect) for dialect in (postgresql, sqlite)}


def set_weight(tx: Transaction, tenant: str, weight: float) -> None:
    """Let a tenant have this weight from its next turn on."""
    tx.connection.execute(_SET_WEIGHT[tx.connection.dialect.name], {"tenant": tenant, "weight": weight})
