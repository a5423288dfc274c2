"""``agentq tenants``: list, show, set, clear."""

from __future__ import annotations

import click

from agentq.cli import options
from agentq.cli.display import age, echo_json, fields, table
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import tenants as operations
from agentq.operations.schemas import Tenant, TenantChange

_name = click.argument("name")


@click.group(cls=ListingGroup)
def tenants() -> None:
    """List and show tenants, set their weights and how many of their workflows may be open.

    \b
    Example:
      agentq tenants
    """


@tenants.command("list")
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, as_json: bool) -> None:
    """List the tenants for which something was set; all others weigh 1.

    Counting stops at 10,000 open workflows; a count that ends in + is the least that there are.

    \b
    Example:
      agentq tenants list
    """
    found = operations.list_(target.current_ledger(), limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        click.echo(table(("TENANT", "WEIGHT", "OPEN", "MAX OPEN"), map(_row, found)))
    else:
        click.echo(
            "no tenant has anything of its own: all weigh 1; set a weight, or how many of its workflows may be "
            "open, with: agentq tenants set NAME --weight 4 --max-open 1000"
        )


@tenants.command()
@_name
@options.as_json
@pass_target
def show(target: Target, name: str, as_json: bool) -> None:
    """Show a tenant: its weight, its open workflows, how many may be open, and the last changes.

    \b
    Example:
      agentq tenants show acme
    """
    tenant = operations.get(target.current_ledger(), name)
    if as_json:
        echo_json(tenant)
        return
    pairs = [("tenant", tenant.tenant), ("weight", f"{tenant.weight:g}"), ("open", _open(tenant))]
    oldest = "" if tenant.oldest_at is None else age(tenant.oldest_at)
    postponed = ("postponed", str(tenant.postponed))
    click.echo(fields([*pairs, ("oldest", oldest), ("max open", _most(tenant.max_open)), postponed]))
    if tenant.changes:
        click.echo("\nchanges")
        click.echo(table(("WHEN", "WHO", "CHANGE", "WHY"), map(_change, tenant.changes)))


@tenants.command("set")
@_name
@click.option("--weight", type=float, help="Its share beside others, from 0.001 to 1000.")
@click.option("--max-open", type=int, help="How many of its workflows may be open; 0 for no more starts.")
@options.reason
@options.as_json
@pass_target
def set_(
    target: Target, name: str, weight: float | None, max_open: int | None, reason: str, as_json: bool
) -> None:
    """Set the weight of a tenant, or how many of its workflows may be open.

    One of weight 4 is given four slots for each of a tenant of weight 1. A start that would open more workflows
    than may be is refused; those that are open go on.

    \b
    Example:
      agentq tenants set acme --weight 4 --max-open 1000
    """
    if weight is None and max_open is None:
        raise click.UsageError("Give --weight or --max-open, or both.")
    ledger = target.current_ledger()
    if weight is not None:
        operations.set_weight(ledger, name, weight, reason=reason)
    if max_open is not None:
        operations.set_max_open(ledger, name, max_open, reason=reason)
    _report(operations.get(ledger, name), as_json)


@tenants.command()
@_name
@options.reason
@options.as_json
@pass_target
def clear(target: Target, name: str, reason: str, as_json: bool) -> None:
    """Let as many workflows of a tenant be open again as the setting max_open of code says.

    \b
    Example:
      agentq tenants clear acme
    """
    ledger = target.current_ledger()
    operations.clear_max_open(ledger, name, reason=reason)
    _report(operations.get(ledger, name), as_json)


def _report(tenant: Tenant, as_json: bool) -> None:
    if as_json:
        echo_json(tenant)
    else:
        click.echo(f"tenant {tenant.tenant} weighs {tenant.weight:g}, max open {_most(tenant.max_open)}")


def _row(tenant: Tenant) -> tuple[str, ...]:
    return tenant.tenant, f"{tenant.weight:g}", _open(tenant), _most(tenant.max_open)


def _open(tenant: Tenant) -> str:
    return f"{tenant.open}+" if tenant.is_capped else str(tenant.open)


def _most(max_open: int | None) -> str:
    return "as code says" if max_open is None else str(max_open)


def _change(change: TenantChange) -> tuple[str, ...]:
    what = f"max open {_most(change.before)} → {_most(change.after)}"
    if change.weight_after is not None:
        what = f"weight {change.weight_before:g} → {change.weight_after:g}"
    return age(change.created_at), change.actor, what, change.reason
