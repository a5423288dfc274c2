"""Tenants: list, set_weight."""

from __future__ import annotations

from functools import partial

from agentq.exceptions import InvalidArguments
from agentq.ledger import tenants as ledger_tenants
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import tenants
from agentq.operations.schemas import Tenant
from agentq.redaction import show

LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1_000.0


def list_(ledger: Ledger, *, limit: int = 50) -> list[Tenant]:
    """Return up to *limit* tenants for which a weight was set, by name; all others weigh 1."""
    return [Tenant.model_validate(row) for row in ledger.read(partial(tenants.find, most=limit))]


def set_weight(ledger: Ledger, tenant: str, weight: float) -> Tenant:
    """Set the weight of a tenant: in a line of jobs, one of weight 4 is given four slots for each of weight 1.

    Args:
        ledger: where.
        tenant: which; it need not have started anything yet.
        weight: from 0.001 to 1,000. It holds from the tenant's next turn on, in the lines of all limits.

    Raises InvalidArguments.
    """
    if not isinstance(tenant, str) or not 0 < len(tenant) <= 255 or not tenant.isprintable():
        raise InvalidArguments(f"tenant is {show(tenant)}; it must be 1 to 255 printable characters")
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not is_number or not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise InvalidArguments(f"weight is {show(weight)}; it must be from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
    ledger.write(lambda tx: ledger_tenants.set_weight(tx, tenant, weight))
    return Tenant(tenant=tenant, weight=weight)
