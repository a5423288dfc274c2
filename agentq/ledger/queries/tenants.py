"""Tenants for which operators have set something, and how many of their workflows are open."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Integer, String, bindparam, select

from agentq.ledger.backlog import count_open, line_of
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import TenantChangeRow, TenantRow
from agentq.ledger.queries import postponed

MOST = 10_000
"""Open workflows of a tenant up to which they are counted."""

_TENANT, _MOST = bindparam("of_tenant", type_=String()), bindparam("most", type_=Integer())
_FIND = select(TenantRow.__table__).order_by(TenantRow.tenant).limit(_MOST)
_GET = select(TenantRow.__table__).where(TenantRow.tenant == _TENANT)
_CHANGES = (
    select(TenantChangeRow.__table__)
    .where(TenantChangeRow.tenant == _TENANT)
    .order_by(TenantChangeRow.id.desc())
    .limit(_MOST)
)


def find(connection: Connection, most: int) -> list[tuple[AnyRow, AnyRow]]:
    """Return up to *most* of them, by name, each with its open workflows as ``open_of`` counts them."""
    rows = connection.execute(_FIND, {"most": most}).all()
    return [(row, open_of(connection, row.tenant)) for row in rows]


def get(connection: Connection, tenant: str) -> AnyRow | None:
    """Return one of them, or None."""
    return connection.execute(_GET, {"of_tenant": tenant}).one_or_none()


def open_of(connection: Connection, tenant: str) -> AnyRow:
    """Return the open workflows as ``counted``, up to one more than MOST, and the first one's ``oldest_at``."""
    return count_open(connection, tenant, MOST + 1)


def postponed_of(connection: Connection, tenant: str) -> int:
    """Return how many of its workflows are postponed, up to MOST."""
    return postponed.count(connection, line_of("max_open", tenant), MOST)


def changes(connection: Connection, tenant: str, most: int) -> Sequence[AnyRow]:
    """Return the last changes of a tenant, newest first."""
    return connection.execute(_CHANGES, {"of_tenant": tenant, "most": most}).all()
