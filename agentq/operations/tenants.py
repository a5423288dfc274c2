"""Tenants: list, get, set_weight, set_max_open, clear_max_open."""

from __future__ import annotations

from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments
from agentq.ledger import tenants as ledger_tenants
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import tenants
from agentq.ledger.queries.tenants import MOST
from agentq.operations.actors import operator_action
from agentq.operations.schemas import Tenant, TenantChange, TenantDetails
from agentq.redaction import show
from agentq.states import MOST_COUNTED

LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1_000.0
MOST_CHANGES = 10
"""Changes of one tenant that are listed."""


def list_(ledger: Ledger, *, limit: int = 50) -> list[Tenant]:
    """Return up to *limit* tenants for which something was set, by name."""
    return [Tenant(**_tenant(row, opened)) for row, opened in ledger.read(partial(tenants.find, most=limit))]


def get(ledger: Ledger, tenant: str) -> TenantDetails:
    """Return everything about one tenant, also where nothing was set for it or started by it."""
    _require_name(tenant)
    row, opened, postponed, changes = ledger.read(
        lambda connection: (
            tenants.get(connection, tenant),
            tenants.open_of(connection, tenant),
            tenants.postponed_of(connection, tenant),
            tenants.changes(connection, tenant, MOST_CHANGES),
        )
    )
    return TenantDetails(
        **({"tenant": tenant} | _tenant(row, opened)),
        oldest_at=opened.oldest_at,
        postponed=postponed,
        changes=[TenantChange.model_validate(change) for change in changes],
    )


def set_weight(ledger: Ledger, tenant: str, weight: float, *, actor: str = "", reason: str = "") -> TenantDetails:
    """Set the weight of a tenant: in a line of jobs, one of weight 4 is given four slots for each of weight 1.

    Args:
        ledger: where.
        tenant: which; it need not have started anything yet.
        weight: from 0.001 to 1,000. It holds from the tenant's next turn on, in the lines of all limits.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Raises InvalidArguments.
    """
    _require_name(tenant)
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not is_number or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise InvalidArguments(f"weight is {show(weight)}; it must be from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
    action = operator_action(actor, reason)
    ledger.write(lambda tx: ledger_tenants.set_weight(tx, tenant, weight, **action))
    return get(ledger, tenant)


def set_max_open(ledger: Ledger, tenant: str, max_open: int, *, actor: str = "", reason: str = "") -> TenantChange:
    """Set how many workflows of a tenant may be open: a start over it raises BacklogFull.

    Args:
        ledger: where.
        tenant: which; it need not have started anything yet.
        max_open: the number, up to a million; 0 for no more starts. It holds from the next start on, and above the
            setting ``max_open`` of code. Workflows that are open go on.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Raises InvalidArguments.
    """
    if isinstance(max_open, bool) or not isinstance(max_open, int) or not 0 <= max_open <= MOST_COUNTED:
        raise InvalidArguments(f"max_open is {show(max_open)}; it must be a whole number from 0 to {MOST_COUNTED}")
    return _set(ledger, tenant, max_open, actor, reason)


def clear_max_open(ledger: Ledger, tenant: str, *, actor: str = "", reason: str = "") -> TenantChange:
    """Let as many workflows of a tenant be open again as code says.

    Args:
        ledger: where.
        tenant: which.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Raises StateConflict where it has no max_open of its own; InvalidArguments.
    """
    return _set(ledger, tenant, None, actor, reason)


def _set(ledger: Ledger, tenant: str, max_open: int | None, actor: str, reason: str) -> TenantChange:
    _require_name(tenant)
    action = operator_action(actor, reason)
    return TenantChange.model_validate(
        ledger.write(lambda tx: ledger_tenants.set_max_open(tx, tenant, max_open, **action))
    )


def _require_name(tenant: str) -> None:
    if not isinstance(tenant, str) or not 0 < len(tenant) <= 255 or not tenant.isprintable():
        raise InvalidArguments(f"tenant is {show(tenant)}; it must be 1 to 255 printable characters")


def _tenant(row: AnyRow | None, opened: AnyRow) -> dict[str, Any]:
    found = {"weight": 1.0, "max_open": None} if row is None else row._mapping
    return {**found, "open": min(opened.counted, MOST), "is_capped": opened.counted > MOST}
