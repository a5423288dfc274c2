"""The base of all tables, and the constraints and indexes that several of them have."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Index,
    MetaData,
    String,
    Uuid,
    text,
)
from sqlalchemy.orm import DeclarativeBase

from agentq.ledger.db.types import UtcDateTime, is_word_of


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime(), uuid.UUID: Uuid(), str: String(255)}


def one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    check = CheckConstraint(is_word_of(column, words), name=f"{column}_known")
    return check.ddl_if(dialect="sqlite")  # on PostgreSQL, ``word_of`` does it


def finished_iff_final(final: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(
        f"(finished_at IS NOT NULL) = ({is_word_of('status', final)})", name="finished_iff_final"
    )


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, postgresql_where=condition, sqlite_where=condition)
