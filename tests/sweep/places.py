"""The ledger of the runs, of which snapshots are taken and put back."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    Engine,
    Insert,
    ScalarSelect,
    Table,
    Text,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal_column,
    select,
    true,
)

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import Base
from tests.support import postgresql_database, sqlite_file
from tests.support.services import end_connections
from tests.sweep.receipts import RECEIPTS
from tests.sweep.scenario import Scenario
from tests.sweep.seeds import SEEDS

_MEMORY = Path("/dev/shm")


class Place(Protocol):
    """A ledger, and a folder for what is beside it."""

    url: str
    folder: Path
    engine: Engine
    """For a look from outside."""

    def snapshot(self) -> Hashable:
        """Return what would be left in the ledger if the process that has it open were gone now."""

    def restore(self, snapshot: Any) -> None:
        """Put that back, and nothing else; no process has the ledger open."""

    def settle(self) -> None:
        """Wait until the database has rolled back what a process left that is gone."""


@contextmanager
def open_place(kind: str, scenario: Scenario) -> Iterator[Place]:
    """Make a ledger of its *kind*, sqlite or postgresql, for one sweep of a scenario: with what ``seed`` wrote."""
    # Neither a memory disk nor a server that does not wait for its disk loses what a dead process has written.
    where = _MEMORY if _MEMORY.is_dir() else None
    with TemporaryDirectory(prefix="sweep-", dir=where) as name:
        if kind == "sqlite":
            yield _SqlitePlace(Path(name), scenario)
        else:
            with postgresql_database(options="synchronous_commit = off") as url:
                place = _PostgresqlPlace(url, Path(name), scenario)
                yield place
                place.engine.dispose()


_Page = bytes
_File = tuple[str, tuple[_Page, ...]]


class _SqlitePlace:
    """A snapshot is the bytes of the files, with the journal as it is in the middle of a transaction."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self.url = sqlite_file(folder)
        self.engine = _seeded(self.url, scenario)
        self._pages: dict[_Page, _Page] = {}

    def snapshot(self) -> tuple[_File, ...]:
        files = (self.folder / name for name in ("ledger.db", "ledger.db-wal"))
        return tuple((file.name, self._pages_of(file.read_bytes())) for file in files if file.exists())

    def restore(self, snapshot: tuple[_File, ...]) -> None:
        self.engine.dispose()
        for left in self.folder.glob("ledger.db*"):
            left.unlink()
        for name, pages in snapshot:
            (self.folder / name).write_bytes(b"".join(pages))

    def settle(self) -> None:
        pass

    def _pages_of(self, content: bytes, size: int = 4096) -> tuple[_Page, ...]:
        # Snapshots share the pages that they have in common, which are nearly all.
        pages = (content[start : start + size] for start in range(0, len(content), size))
        return tuple(self._pages.setdefault(page, page) for page in pages)


class _PostgresqlPlace:
    """A snapshot is the committed rows of each table as JSON: what another connection sees."""

    def __init__(self, url: str, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self.url = url
        self.engine = _seeded(url, scenario)
        self._administration = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._tables = [*Base.metadata.sorted_tables, RECEIPTS]
        # Each is one statement: the checks of foreign keys come at its end.
        self._read = select(*map(_rows_of, self._tables))
        self._empty = select(true()).add_cte(*(delete(table).cte(f"from_{table}") for table in self._tables))
        self._fill = select(true()).add_cte(*(_insert_into(table).cte(f"into_{table}") for table in self._tables))

    def snapshot(self) -> tuple[str | None, ...]:
        with self._administration.connect() as connection:
            return tuple(connection.execute(self._read).one())

    def restore(self, snapshot: tuple[str | None, ...]) -> None:
        with self.engine.begin() as connection:
            connection.execute(self._empty)
            names = [table.name for table in self._tables]
            connection.execute(self._fill, dict(zip(names, snapshot, strict=True)))

    def settle(self) -> None:
        with self._administration.connect() as connection:
            driver: Any = connection.connection.driver_connection
            end_connections(driver)


def _rows_of(table: Table) -> ScalarSelect[str]:
    return select(cast(func.json_agg(table.table_valued()), Text)).scalar_subquery()


def _insert_into(table: Table) -> Insert:
    like = literal_column(f"CAST(NULL AS {table})")
    rows = func.json_populate_recordset(like, cast(bindparam(table.name, type_=Text), JSON))
    names = table.columns.keys()
    return insert(table).from_select(names, select(*map(column, names)).select_from(rows))


def _seeded(url: str, scenario: Scenario) -> Engine:
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    RECEIPTS.create(ledger.engine)
    if scenario.seed:
        SEEDS[scenario.seed](ledger)
    ledger.close()
    return ledger.engine
