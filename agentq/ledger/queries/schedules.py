"""Schedules as people ask for them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Integer, String, bindparam, func, select

from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import ScheduleChangeRow, ScheduleRow

_NAME, _MOST = bindparam("of_name", type_=String()), bindparam("most", type_=Integer())
_schedule = ScheduleRow.__table__
_ALL = select(_schedule, now().label("read_at")).order_by(ScheduleRow.name, ScheduleRow.tenant).limit(_MOST)
_OF_TENANT = _ALL.where(ScheduleRow.tenant == bindparam("of_tenant", type_=String()))
_NAMED = _ALL.where(ScheduleRow.name == _NAME)
_NAMED_OF_TENANT = _NAMED.where(ScheduleRow.tenant == bindparam("of_tenant", type_=String()))
_NEAR = (
    select(ScheduleRow.name).where(func.substr(ScheduleRow.name, 1, 1) == func.substr(_NAME, 1, 1)).limit(_MOST)
)
_CHANGES = (
    select(ScheduleChangeRow.__table__)
    .where(ScheduleChangeRow.name == _NAME, ScheduleChangeRow.tenant == bindparam("of_tenant", type_=String()))
    .order_by(ScheduleChangeRow.id.desc())
    .limit(_MOST)
)


def find(connection: Connection, most: int, tenant: str | None = None) -> Sequence[AnyRow]:
    """Return up to *most* schedules, by name, of all tenants or of one."""
    if tenant is None:
        return connection.execute(_ALL, {"most": most}).all()
    return connection.execute(_OF_TENANT, {"most": most, "of_tenant": tenant}).all()


def named(connection: Connection, name: str, most: int, tenant: str | None = None) -> Sequence[AnyRow]:
    """Return up to *most* schedules of this name, each of another tenant, or the one of *tenant*."""
    if tenant is None:
        return connection.execute(_NAMED, {"of_name": name, "most": most}).all()
    values = {"of_name": name, "most": most, "of_tenant": tenant}
    return connection.execute(_NAMED_OF_TENANT, values).all()


def near(connection: Connection, name: str) -> Sequence[str]:
    """Return names of schedules that a person may have meant."""
    return connection.scalars(_NEAR, {"of_name": name, "most": 100}).all()


def changes(connection: Connection, tenant: str, name: str, most: int) -> Sequence[AnyRow]:
    """Return the last changes of a schedule, newest first."""
    return connection.execute(_CHANGES, {"of_name": name, "of_tenant": tenant, "most": most}).all()
