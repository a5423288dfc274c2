"""The tables that a statement may read from end to end, however many jobs are done."""

from __future__ import annotations

from sqlalchemy import Index

from agentq.ledger.models import Base

SMALL = {"agentq_workers", "agentq_alembic_version"}
"""Tables that have few rows in any ledger, so that reading them whole is the best plan."""


def _has_only_what_is_under_way(index: Index) -> bool:
    where = index.dialect_options["sqlite"]["where"]
    return where is not None and str(where) not in {f"{column.name} IS NOT NULL" for column in index.columns}


_OWED = {"ix_agentq_schedules_owed"}
"""Of schedules, those that owe a workflow: none does so for long."""
SHORT = {
    str(index.name)
    for table in Base.metadata.tables.values()
    for index in table.indexes
    if _has_only_what_is_under_way(index)
} | {*_OWED, *(f"pk_{table}" for table in SMALL)}
"""Indexes that have no rows that are done, or few at all."""
