"""The words that a column takes, changed by a migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import is_word_of


def change_words(table: str, column: str, domain: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Let a column, whose type is a domain on PostgreSQL, take other words than *before*."""
    if op.get_context().dialect.name == "postgresql":
        name = f"{domain}_known"
        op.execute(f"ALTER DOMAIN {domain} DROP CONSTRAINT {name}")
        op.execute(f"ALTER DOMAIN {domain} ADD CONSTRAINT {name} CHECK ({is_word_of('VALUE', after)})")
        return
    # SQLite drops no constraint, and a table that is made anew takes with it the rows that refer to its rows. So
    # the text of the constraint is changed where it is kept (https://sqlite.org/lang_altertable.html, section 7).
    change = sa.text("UPDATE sqlite_master SET sql = replace(sql, :before, :after) WHERE name = :table")
    op.execute("PRAGMA writable_schema = ON")
    op.execute(change.bindparams(before=is_word_of(column, before), after=is_word_of(column, after), table=table))
    op.execute("PRAGMA writable_schema = RESET")
