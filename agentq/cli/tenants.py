"""``agentq tenants``: list, set."""

from __future__ import annotations

import click

from agentq.cli import options
from agentq.cli.display import echo_json, table
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import tenants as operations


@click.group(cls=ListingGroup)
def tenants() -> None:
    """List and set the weights of tenants, by which they take turns in the lines of limits.

    \b
    Example:
      agentq tenants
    """


@tenants.command("list")
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, as_json: bool) -> None:
    """List the tenants for which a weight was set; all others weigh 1.

    \b
    Example:
      agentq tenants list
    """
    found = operations.list_(target.current_ledger(), limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        click.echo(table(("TENANT", "WEIGHT"), ((one.tenant, f"{one.weight:g}") for one in found)))
    else:
        click.echo(
            "no tenant has a weight of its own: all weigh 1; set one with: agentq tenants set NAME --weight 4"
        )


@tenants.command("set")
@click.argument("name")
@click.option("--weight", type=float, required=True, help="Its share beside others, from 0.001 to 1000.")
@options.as_json
@pass_target
def set_(target: Target, name: str, weight: float, as_json: bool) -> None:
    """Set the weight of a tenant: one of weight 4 is given four slots for each of a tenant of weight 1.

    \b
    Example:
      agentq tenants set acme --weight 4
    """
    tenant = operations.set_weight(target.current_ledger(), name, weight)
    if as_json:
        echo_json(tenant)
    else:
        click.echo(f"tenant {tenant.tenant} weighs {tenant.weight:g}")
