"""Statements of the hot path: compiled once for each database, then run on the driver's own cursor.

SQLAlchemy builds them; what it spends on each execution is two to three times what the driver spends. They go
through the dialect's ``do_execute`` like all others: a wrapper of that sees every statement.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, bindparam, false, literal_column, null, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ClauseList, ColumnElement, Grouping

from agentq.ledger.db.types import AnyRow

Processor = Callable[[Any], Any]
WhileExecuting = Callable[[], object]
"""A function that is called while the database works on a statement; must not use the same connection."""


class Prepared:
    """A statement whose values are all given by name at each execution, but for constants.

    A value that is a list is for ``in_``; each length of it is compiled once. Raises what SQLAlchemy raises:
    DBAPIError and its kinds.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._lists = sorted({bind.key for bind in _binds(statement) if bind.expanding and bind.required})
        self._compiled: dict[tuple[type[Dialect], tuple[int, ...]], _Compiled] = {}

    def all(
        self, connection: Connection, values: Mapping[str, Any], while_executing: WhileExecuting | None = None
    ) -> list[AnyRow]:
        """Run it and return its rows, whose columns are read by name.

        *while_executing* is called while the database executes, where the driver can do that; or else not at all.
        """
        compiled, cursor = self._run(connection, values, while_executing)
        return compiled.rows(cursor)

    def one_or_none(self, connection: Connection, values: Mapping[str, Any]) -> AnyRow | None:
        """Run it, which gives at most one row, and return that."""
        rows = self.all(connection, values)
        return rows[0] if rows else None

    def scalar(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it and return the value of its only row, or None."""
        row = self.one_or_none(connection, values)
        return None if row is None else row[0]

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run it and return how many rows it wrote."""
        _, cursor = self._run(connection, values)
        rows: int = cursor.rowcount
        cursor.close()
        return rows

    def each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each of *rows*, its values."""
        if rows:
            compiled = self._compiled_for(connection, rows[0])
            parameters = [compiled.parameters(values) for values in rows]
            run_text(connection, compiled.text, parameters, many=True).close()

    def _run(
        self, connection: Connection, values: Mapping[str, Any], while_executing: WhileExecuting | None = None
    ) -> tuple[_Compiled, Any]:
        compiled = self._compiled_for(connection, values)
        parameters = compiled.parameters(values)
        driver: Any = connection.connection.dbapi_connection
        if while_executing is not None and hasattr(driver, "while_executing"):
            driver.while_executing = while_executing
        return compiled, run_text(connection, compiled.text, parameters)

    def _compiled_for(self, connection: Connection, values: Mapping[str, Any]) -> _Compiled:
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy's own execution does
        dialect = connection.dialect
        lengths = tuple(len(values[name]) for name in self._lists)
        # Not its name: a framework's connection gives the same database's values otherwise.
        kind = (type(dialect), lengths)
        if kind not in self._compiled:
            self._compiled[kind] = _Compiled(
                self._statement, dialect, dict(zip(self._lists, lengths, strict=True))
            )
        return self._compiled[kind]


def run_text(connection: Connection, text: str, parameters: Any = (), *, many: bool = False) -> Any:
    """Run a statement on the driver's cursor and return that; raises what SQLAlchemy raises."""
    dialect: Any = connection.dialect
    cursor = connection.connection.cursor()
    try:
        (dialect.do_executemany if many else dialect.do_execute)(cursor, text, parameters)
    except dialect.loaded_dbapi.Error as error:
        is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
        if is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            *(text, None, error, dialect.loaded_dbapi.Error),
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=dialect,
        ) from error
    return cursor


class _Compiled:
    """The text of a statement for one database, and how values go in and rows come out."""

    def __init__(self, statement: Any, dialect: Dialect, lengths: Mapping[str, int]) -> None:
        compiled: Any = _with_constants(statement, lengths).compile(dialect=dialect)
        self.text = str(compiled)
        self._lists = {name: [_item(name, number) for number in range(length)] for name, length in lengths.items()}
        # Of all databases, SQLite binds the offset of each limit, which is 0, to a name of its own.
        self._unnamed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._names = compiled.positiontup or sorted(compiled.binds)
        self._is_positional = compiled.positional
        processors = {name: _bind_processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        self._into = {name: process for name, process in processors.items() if process is not None}
        self._columns = list(getattr(statement, "exported_columns", ()))
        self._row: Any = namedtuple("_Row", [column.key for column in self._columns])  # type: ignore[misc]  # known here only
        self._dialect = dialect
        self._out_of: list[tuple[int, Processor]] | None = None

    def parameters(self, values: Mapping[str, Any]) -> Any:
        if self._unnamed:
            values = {**values, **self._unnamed}
        if self._lists:
            values = {**values, **self._items(values)}
        given = {name: values[name] for name in self._names}
        for name, process in self._into.items():
            given[name] = process(given[name])
        return tuple(given[name] for name in self._names) if self._is_positional else given

    def _items(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: item for key, names in self._lists.items() for name, item in zip(names, values[key], strict=True)
        }

    def rows(self, cursor: Any) -> list[AnyRow]:
        if self._out_of is None:
            self._out_of = self._processors(cursor.description)
        rows = [self._row_of(values) for values in cursor.fetchall()]
        cursor.close()
        return rows

    def _processors(self, description: Any) -> list[tuple[int, Processor]]:
        dialect = self._dialect
        return [
            (place, process)
            for place, (column, described) in enumerate(zip(self._columns, description, strict=True))
            if (process := column.type.dialect_impl(dialect).result_processor(dialect, described[1])) is not None
        ]

    def _row_of(self, values: tuple[Any, ...]) -> AnyRow:
        if self._out_of:
            changed = list(values)
            for place, process in self._out_of:
                changed[place] = process(changed[place])
            values = tuple(changed)
        row: AnyRow = self._row._make(values)
        return row


def _bind_processor(kind: Any, dialect: Dialect) -> Processor | None:
    processor: Processor | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return processor


def _with_constants(statement: Any, lengths: Mapping[str, int]) -> Any:
    """Write what is the same at every execution into the text, and a name for each item of a list.

    There is less to send then, and PostgreSQL's plan can use a partial index.
    """

    def replaced(element: Any, **_: Any) -> ColumnElement[Any] | None:
        if not isinstance(element, BindParameter):
            return None
        if element.key in lengths:
            names = (_item(element.key, number) for number in range(lengths[element.key]))
            items: list[Any] = [bindparam(name, type_=element.type) for name in names]
            return Grouping(ClauseList(*items or [null()]))
        return None if element.required else _constant(element)

    return visitors.replacement_traverse(statement, {}, replaced)


def _binds(statement: Any) -> Iterator[BindParameter[Any]]:
    return (element for element in visitors.iterate(statement) if isinstance(element, BindParameter))


def _item(name: str, number: int) -> str:
    return f"{name}_{number}"


def _constant(bind: BindParameter[Any]) -> ColumnElement[Any]:
    if bind.value is None:
        return null()
    if isinstance(bind.value, bool):
        return true() if bind.value else false()
    if bind.expanding:
        return literal_column(f"({', '.join(map(_quoted, bind.value))})")
    return literal_column(_quoted(bind.value), bind.type)


def _quoted(value: object) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
