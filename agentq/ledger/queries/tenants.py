"""Tenants for which operators have set a weight."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import TenantRow


def find(connection: Connection, most: int) -> Sequence[AnyRow]:
    """Return up to *most* of them, by name."""
    return connection.execute(select(TenantRow.__table__).order_by(TenantRow.tenant).limit(most)).all()
