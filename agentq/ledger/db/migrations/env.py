"""Alembic's environment: runs on the connection that ``migrate.upgrade`` gives, or prints SQL."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import make_url

from agentq.ledger.db.schema import VERSION_TABLE
from agentq.ledger.models import Base

options: dict[str, Any] = {"target_metadata": Base.metadata, "version_table": VERSION_TABLE}

if context.is_offline_mode():
    url = make_url(context.config.get_main_option("sqlalchemy.url") or "")
    context.configure(dialect_name=url.get_backend_name(), literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    # The caller owns the connection and its transaction.
    context.configure(connection=context.config.attributes["connection"], **options)
    context.run_migrations()
