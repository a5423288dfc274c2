"""A project that uses the ledger as soon as it is imported: before the worker's pool forks."""

from __future__ import annotations

from sqlalchemy import text

from tests.support.project import agentq, app

__all__ = ["app"]

agentq.ensure_ledger()
agentq.ledger.read(lambda connection: connection.execute(text("SELECT 1")))
