"""The ledger's schema in Django's migrations: each runs one of the ledger's own, by Alembic."""

from __future__ import annotations

from typing import Any

from django.db.migrations import RunPython

from agentq.contrib.django import options
from agentq.contrib.django.connection import django_connection
from agentq.ledger.db import migrate


def ledger_revision(revision: str) -> RunPython:
    """Return the operation that brings the ledger to *revision*, and back to the one before it.

    It does nothing in databases that the ledger does not live in, or where the ledger is that new already.
    """

    def upgrade(apps: Any, schema_editor: Any) -> None:
        if _has_ledger(schema_editor):
            with django_connection(schema_editor.connection.alias) as connection:
                migrate.upgrade_to(connection, revision)

    def downgrade(apps: Any, schema_editor: Any) -> None:
        if _has_ledger(schema_editor):
            with django_connection(schema_editor.connection.alias) as connection:
                migrate.downgrade_below(connection, revision)

    return RunPython(upgrade, downgrade)


def _has_ledger(schema_editor: Any) -> bool:
    return bool(schema_editor.connection.alias == options.load().database)
