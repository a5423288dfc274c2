"""Column types and the database's clock, the same on every ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, ColumnElement, DateTime, Dialect, Float, Integer, Row, String, literal_column
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator

AnyRow = Row[*tuple[Any, ...]]
"""A row whose columns are read by name."""

_SQLITE_FORMAT = "'%Y-%m-%d %H:%M:%f'"


class Word(String):
    """One word of an enumeration, written into statements that compare it, rather than bound.

    PostgreSQL plans a prepared statement without its values, and an index of one status needs to see which.
    """

    class comparator_factory(String.Comparator[str]):
        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            return super().operate(op, *map(_written, other), **kwargs)


def word_of(words: type[StrEnum]) -> String:
    """A column's type that takes the words of *words* only; on SQLite, ``is_word_of`` sees to that.

    A domain checks what is written. A CHECK would be read, parsed and compiled anew by every statement that writes
    to its table: nearly a tenth of what the server does for a completion.
    """
    snake = re.sub("(?<=[a-z])(?=[A-Z])", "_", words.__name__).lower()
    name, check = f"agentq_{snake}", is_word_of("VALUE", words)
    # Made by a migration: SQLAlchemy would make it with the tables, also on SQLite.
    domain = DOMAIN(name, String(16), constraint_name=f"{name}_known", check=check, create_type=False)
    return Word(16).with_variant(domain, "postgresql")


def is_word_of(value: str, words: Iterable[str]) -> str:
    """Return the SQL that says whether *value* is one of the words."""
    quoted = ", ".join(f"'{word}'" for word in sorted(words))
    return f"{value} IN ({quoted})"


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC: ``timestamptz`` on PostgreSQL, sortable text on SQLite; always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Epoch(TypeDecorator[float]):
    """A time as a number to calculate with: seconds since 1970, by the database's clock."""

    impl = Float
    cache_ok = True


def _written(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return literal_column(f"'{value}'", String())
    return [_written(item) for item in value] if isinstance(value, (list, tuple)) else value


class now(FunctionElement[datetime]):
    """The database's clock at the start of the statement. The only clock that decides anything."""

    type = UtcDateTime()
    inherit_cache = True
    name = "now"


class seconds_from_now(FunctionElement[datetime]):
    """``now()`` plus a number of seconds, which may be a column or negative."""

    type = UtcDateTime()
    inherit_cache = True
    name = "seconds_from_now"

    def __init__(self, seconds: ColumnElement[Any] | Any) -> None:
        super().__init__(seconds)


class clock(FunctionElement[float]):
    """The database's clock now, in seconds since 1970: also after the statement has waited for a lock."""

    type = Float()
    inherit_cache = True
    name = "clock"


class least(FunctionElement[Any]):
    """The least of several numbers, none of which is NULL."""

    type = Float()
    inherit_cache = True
    name = "least"


class greatest(FunctionElement[Any]):
    """The greatest of several numbers, none of which is NULL."""

    type = Float()
    inherit_cache = True
    name = "greatest"


class whole(FunctionElement[int]):
    """A number without its fraction, where it is 0 or more."""

    type = Integer()
    inherit_cache = True
    name = "whole"


class later(FunctionElement[datetime]):
    """A time plus a number of seconds, which may be negative."""

    type = UtcDateTime()
    inherit_cache = True
    name = "later"

    def __init__(self, time: ColumnElement[Any] | Any, seconds: ColumnElement[Any] | float) -> None:
        super().__init__(time, seconds)


class in_code_order(FunctionElement[str]):
    """A text as Python orders it, whatever the collation of the database."""

    type = String()
    inherit_cache = True
    name = "in_code_order"


class item_of(FunctionElement[str]):
    """The text after the first *count* of a column that has a list of texts; NULL where there are no more."""

    type = String()
    inherit_cache = True
    name = "item_of"

    def __init__(self, texts: ColumnElement[Any] | Any, count: ColumnElement[int] | Any) -> None:
        super().__init__(texts, count)


class item_for(FunctionElement[int]):
    """A list of texts, a text, a list of items: the item in the place that the text has among the texts."""

    type = Integer()
    inherit_cache = True
    name = "item_for"

    def __init__(self, texts: Any, text: Any, items: Any) -> None:
        super().__init__(texts, text, items)


class seconds_of(FunctionElement[float]):
    """A time in seconds since 1970."""

    type = Float()
    inherit_cache = True
    name = "seconds_of"


class time_at(FunctionElement[datetime]):
    """The time that is a number of seconds after the beginning of 1970."""

    type = UtcDateTime()
    inherit_cache = True
    name = "time_at"


class iso_time(FunctionElement[str]):
    """A time as text, to the second: 2026-11-30T18:00:00Z."""

    type = String()
    inherit_cache = True
    name = "iso_time"


class is_among_first(FunctionElement[bool]):
    """A list of texts, a number, a text: true where the text is among that many first ones of the list."""

    type = Boolean()
    inherit_cache = True
    name = "is_among_first"


@compiles(in_code_order, "postgresql")
def _in_code_order_postgresql(element: in_code_order, compiler: Any, **kw: Any) -> str:
    return f'{compiler.process(element.clauses, **kw)} COLLATE "C"'


@compiles(in_code_order, "sqlite")
def _in_code_order_sqlite(element: in_code_order, compiler: Any, **kw: Any) -> str:
    return f"{compiler.process(element.clauses, **kw)}"


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "statement_timestamp()"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    return f"strftime({_SQLITE_FORMAT}, 'now')"


@compiles(seconds_from_now, "postgresql")
def _from_now_postgresql(element: seconds_from_now, compiler: Any, **kw: Any) -> str:
    return f"statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)})"


@compiles(seconds_from_now, "sqlite")
def _from_now_sqlite(element: seconds_from_now, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime({_SQLITE_FORMAT}, 'now', printf('%+.3f seconds', {seconds}))"


@compiles(clock, "postgresql")
def _clock_postgresql(element: clock, compiler: Any, **kw: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::float8"


@compiles(clock, "sqlite")
def _clock_sqlite(element: clock, compiler: Any, **kw: Any) -> str:
    return _since_1970("'now'")


def _since_1970(time: str) -> str:
    return f"((CAST(strftime('%J', {time}) AS REAL) - 2440587.5) * 86400.0)"


@compiles(least, "postgresql")
@compiles(greatest, "postgresql")
def _extreme_postgresql(element: least | greatest, compiler: Any, **kw: Any) -> str:
    return f"{element.name}({compiler.process(element.clauses, **kw)})"


@compiles(least, "sqlite")
@compiles(greatest, "sqlite")
def _extreme_sqlite(element: least | greatest, compiler: Any, **kw: Any) -> str:
    name = "min" if element.name == "least" else "max"
    return f"{name}({compiler.process(element.clauses, **kw)})"


@compiles(whole, "postgresql")
def _whole_postgresql(element: whole, compiler: Any, **kw: Any) -> str:
    return f"floor({compiler.process(element.clauses, **kw)})::int"


@compiles(whole, "sqlite")
def _whole_sqlite(element: whole, compiler: Any, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS INTEGER)"


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: Any, **kw: Any) -> str:
    time, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{time} + make_interval(secs => {seconds})"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: Any, **kw: Any) -> str:
    time, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f', {time}, printf('%+.3f seconds', {seconds}))"


@compiles(item_of, "postgresql")
def _item_of_postgresql(element: item_of, compiler: Any, **kw: Any) -> str:
    texts, count = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({texts})[{count} + 1]"


@compiles(item_of, "sqlite")
def _item_of_sqlite(element: item_of, compiler: Any, **kw: Any) -> str:
    texts, count = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"json_extract({texts}, '$[' || {count} || ']')"


@compiles(item_for, "postgresql")
def _item_for_postgresql(element: item_for, compiler: Any, **kw: Any) -> str:
    texts, text, items = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({items})[array_position({texts}, {text})]"


@compiles(item_for, "sqlite")
def _item_for_sqlite(element: item_for, compiler: Any, **kw: Any) -> str:
    texts, text, items = (compiler.process(clause, **kw) for clause in element.clauses)
    both = f"json_each({texts}) AS texts JOIN json_each({items}) AS items ON items.key = texts.key"
    return f"(SELECT items.value FROM {both} WHERE texts.value = {text})"  # noqa: S608 - of compiled clauses


@compiles(seconds_of, "postgresql")
def _seconds_of_postgresql(element: seconds_of, compiler: Any, **kw: Any) -> str:
    return f"extract(epoch FROM {compiler.process(element.clauses, **kw)})::float8"


@compiles(seconds_of, "sqlite")
def _seconds_of_sqlite(element: seconds_of, compiler: Any, **kw: Any) -> str:
    return _since_1970(compiler.process(element.clauses, **kw))


@compiles(time_at, "postgresql")
def _time_at_postgresql(element: time_at, compiler: Any, **kw: Any) -> str:
    return f"to_timestamp({compiler.process(element.clauses, **kw)})"


@compiles(time_at, "sqlite")
def _time_at_sqlite(element: time_at, compiler: Any, **kw: Any) -> str:
    return f"strftime({_SQLITE_FORMAT}, {compiler.process(element.clauses, **kw)}, 'unixepoch')"


@compiles(iso_time, "postgresql")
def _iso_time_postgresql(element: iso_time, compiler: Any, **kw: Any) -> str:
    form = '\'YYYY-MM-DD"T"HH24:MI:SS"Z"\''
    return f"to_char({compiler.process(element.clauses, **kw)} AT TIME ZONE 'UTC', {form})"


@compiles(iso_time, "sqlite")
def _iso_time_sqlite(element: iso_time, compiler: Any, **kw: Any) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {compiler.process(element.clauses, **kw)})"


@compiles(is_among_first, "postgresql")
def _among_first_postgresql(element: is_among_first, compiler: Any, **kw: Any) -> str:
    texts, number, text = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{text} = ANY (({texts})[1:{number}])"


@compiles(is_among_first, "sqlite")
def _among_first_sqlite(element: is_among_first, compiler: Any, **kw: Any) -> str:
    texts, number, text = (compiler.process(clause, **kw) for clause in element.clauses)
    among = f"json_each({texts}) WHERE key < {number} AND value = {text}"
    return f"EXISTS (SELECT 1 FROM {among})"  # noqa: S608 - of clauses that SQLAlchemy has compiled
