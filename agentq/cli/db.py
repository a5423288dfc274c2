"""``agentq db``: the ledger's schema."""

from __future__ import annotations

import click

from agentq.cli.target import Target, pass_target, sqlite_file
from agentq.ledger.db import migrate, schema


@click.group()
def db() -> None:
    """Create or upgrade the ledger's schema.

    \b
    Example:
      agentq --ledger postgresql://user:password@host/database db upgrade
    """


@db.command()
@click.option("--sql", is_flag=True, help="Print the SQL for an empty database instead of running it.")
@pass_target
def upgrade(target: Target, sql: bool) -> None:
    """Bring the ledger to the schema of the installed agentq; harmless where it is there already.

    \b
    Example:
      agentq db upgrade
      agentq --ledger postgresql://host/database db upgrade --sql > review.sql
    """
    ledger = target.ledger
    if sql:
        migrate.upgrade_sql(ledger)
        return
    path = sqlite_file(ledger)
    if path is not None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    found = ledger.read(schema.current_revision)
    migrate.upgrade(ledger)
    where = ledger.url.render_as_string(hide_password=True)
    expected = schema.REVISION
    outcome = "has revision" if found == expected else f"went from {found or 'no schema'} to revision"
    click.echo(f"the ledger at {where} {outcome} {expected}")


@db.command()
@pass_target
def current(target: Target) -> None:
    """Print the revision of the ledger's schema; exit code 1 unless it is the one of the installed agentq.

    \b
    Example:
      agentq db current
    """
    ledger = target.existing_ledger()
    ledger.read(schema.require_current)
    click.echo(schema.REVISION)
