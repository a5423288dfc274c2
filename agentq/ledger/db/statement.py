"""Statements of the hot path: compiled once for each database, then run on the driver's own cursor.

SQLAlchemy builds them; what it spends on each execution is two to three times what the driver spends. They go
through the dialect's ``do_execute`` like all others: a wrapper of that sees every statement.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, false, literal_column, null, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from agentq.ledger.db.types import AnyRow

Processor = Callable[[Any], Any]
WhileExecuting = Callable[[], object]
"""A function that is called while the database works on a statement; must not use the same connection."""


class Prepared:
    """A statement whose values are all given by name at each execution, but for constants.

    Raises what SQLAlchemy raises: DBAPIError and its kinds.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._by_dialect: dict[type[Dialect], _Compiled] = {}

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

    def count(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Run it and return how many rows it wrote."""
        _, cursor = self._run(connection, values)
        rows: int = cursor.rowcount
        cursor.close()
        return rows

    def each(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it once for each of *rows*, its values."""
        if rows:
            compiled = self._compiled_for(connection)
            parameters = [compiled.parameters(values) for values in rows]
            run_text(connection, compiled.text, parameters, many=True).close()

    def _run(
        self, connection: Connection, values: Mapping[str, Any], while_executing: WhileExecuting | None = None
    ) -> tuple[_Compiled, Any]:
        compiled = self._compiled_for(connection)
        parameters = compiled.parameters(values)
        driver: Any = connection.connection.dbapi_connection
        if while_executing is not None and hasattr(driver, "while_executing"):
            driver.while_executing = while_executing
        return compiled, run_text(connection, compiled.text, parameters)

    def _compiled_for(self, connection: Connection) -> _Compiled:
        if not connection.in_transaction():
            connection.begin()  # as SQLAlchemy's own execution does
        dialect = connection.dialect
        kind = type(dialect)  # not its name: a framework's connection gives the same database's values otherwise
        if kind not in self._by_dialect:
            self._by_dialect[kind] = _Compiled(self._statement, dialect)
        return self._by_dialect[kind]


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

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled: Any = _with_constants(statement).compile(dialect=dialect)
        self.text = str(compiled)
        self._names = compiled.positiontup or sorted(compiled.binds)
        self._is_positional = compiled.positional
        processors = {name: _bind_processor(bind.type, dialect) for name, bind in compiled.binds.items()}
        self._into = {name: process for name, process in processors.items() if process is not None}
        self._columns = list(getattr(statement, "exported_columns", ()))
        self._row: Any = namedtuple("_Row", [column.key for column in self._columns])  # type: ignore[misc]  # known here only
        self._dialect = dialect
        self._out_of: list[tuple[int, Processor]] | None = None

    def parameters(self, values: Mapping[str, Any]) -> Any:
        given = {name: values[name] for name in self._names}
        for name, process in self._into.items():
            given[name] = process(given[name])
        return tuple(given[name] for name in self._names) if self._is_positional else given

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


def _with_constants(statement: Any) -> Any:
    """Write what is the same at every execution into the text.

    There is less to send then, and PostgreSQL's plan can use a partial index.
    """

    def constant(element: Any, **_: Any) -> ColumnElement[Any] | None:
        return _constant(element) if isinstance(element, BindParameter) and not element.required else None

    return visitors.replacement_traverse(statement, {}, constant)


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
