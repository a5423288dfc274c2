"""The ledger of the runs, put back to its beginning before each run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, MetaData, Table, delete, insert, select
from sqlalchemy.schema import CreateSchema

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

    def reset(self) -> None:
        """Put the ledger back to its beginning: nothing but what ``seed`` wrote."""

    def settle(self) -> None:
        """Wait until the database has rolled back what a process left that is gone."""


@contextmanager
def open_place(kind: str, scenario: Scenario) -> Iterator[Place]:
    """Make a ledger of its *kind*, sqlite or postgresql, for one sweep of a scenario."""
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


class _SqlitePlace:
    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self.url = sqlite_file(folder)
        self.engine = _seeded(self.url, scenario)
        self._file, self._seeded = folder / "ledger.db", folder / "seeded.db"
        shutil.move(self._file, self._seeded)

    def reset(self) -> None:
        self.engine.dispose()
        for left in self.folder.glob("ledger.db-*"):
            left.unlink()
        shutil.copy(self._seeded, self._file)

    def settle(self) -> None:
        pass


class _PostgresqlPlace:
    def __init__(self, url: str, folder: Path, scenario: Scenario) -> None:
        self.folder = folder
        self.url = url
        self.engine = _seeded(url, scenario)
        self._administration = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._tables = [*Base.metadata.sorted_tables, RECEIPTS]
        copies = MetaData(schema="seeds")
        self._seeds = {table.name: table.to_metadata(copies) for table in self._tables}
        with self.engine.begin() as connection:
            connection.execute(CreateSchema("seeds"))
            copies.create_all(connection)
            for table in self._tables:
                _copy(connection, table, self._seeds[table.name])

    def reset(self) -> None:
        self.settle()
        with self.engine.begin() as connection:
            for table in reversed(self._tables):
                connection.execute(delete(table))
            for table in self._tables:
                _copy(connection, self._seeds[table.name], table)

    def settle(self) -> None:
        with self._administration.connect() as connection:
            driver: Any = connection.connection.driver_connection
            end_connections(driver)


def _copy(connection: Connection, source: Table, target: Table) -> None:
    connection.execute(insert(target).from_select(source.columns.keys(), select(source)))


def _seeded(url: str, scenario: Scenario) -> Engine:
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    RECEIPTS.create(ledger.engine)
    if scenario.seed:
        SEEDS[scenario.seed](ledger)
    ledger.close()
    return ledger.engine
