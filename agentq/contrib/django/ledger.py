"""The ledger in one of the project's databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections, transaction
from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from agentq.contrib.django.connection import django_connection
from agentq.exceptions import ConfigurationError, SchemaMismatch
from agentq.ledger.db.session import BEGIN_WRITING, Ledger
from agentq.ledger.transaction import NamingOf, Publish, Transaction

T = TypeVar("T")

_SET_LIMITS = text(
    "SELECT set_config('statement_timeout', :limit, true), set_config('lock_timeout', :limit, true)"
)


class DjangoLedger(Ledger):
    """The ledger in the database *alias*.

    Inside ``atomic()`` everything happens on Django's connection, in its transaction. Outside, too, except in a
    worker: that has connections of its own, with the ledger's time limits, which last over many jobs.

    Raises ConfigurationError for a database that a ledger cannot live in.
    """

    def __init__(
        self,
        alias: str,
        *,
        timeout: float,
        publish: Publish,
        naming: NamingOf,
        is_in_worker: Callable[[], bool],
    ) -> None:
        super().__init__(_url(alias), timeout=timeout, publish=publish, naming=naming)
        self._alias = alias
        self._is_in_worker = is_in_worker

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: Django copies for each test what ``setUpTestData`` keeps, such as handles."""
        return self

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do *work* in the thread that has the request's connection, and a test's transaction."""
        return await sync_to_async(work)()

    def write_with_application(
        self,
        work: Callable[[Transaction], T],
        *,
        wait_timeout: float | None = None,
        publish: Publish | None = None,
    ) -> T:
        """Run *work* on Django's connection, also in a worker: rows of models written in it join."""
        return self._write(lambda work: self._atomic(self._in_time(work)), work, wait_timeout, publish)

    def _after_commit(self, work: Callable[[], object]) -> None:
        if self._is_joined:
            transaction.on_commit(work, using=self._alias)
        else:
            work()

    def check_schema(self) -> None:
        try:
            super().check_schema()
        except SchemaMismatch as error:
            raise SchemaMismatch(
                f"the ledger in the database {self._alias!r} has {error.found or 'no schema'}, this code needs "
                f"{error.expected}; run: manage.py migrate --database {self._alias}",
                found=error.found,
                expected=error.expected,
            ) from None

    @property
    def _is_joined(self) -> bool:
        return connections[self._alias].in_atomic_block

    def _transaction(self, work: Callable[[Connection], T], *, begin: str | None = BEGIN_WRITING) -> T:
        if self._is_own:
            return super()._transaction(work, begin=begin)
        if begin != BEGIN_WRITING and self._is_joined:
            return self._joined_statement(work)
        return self._atomic(work)

    def _atomic(self, work: Callable[[Connection], T]) -> T:
        with django_connection(self._alias) as connection, transaction.atomic(using=self._alias):
            return work(connection)

    def _autocommit(self, work: Callable[[Connection], T]) -> T:
        if self._is_own:
            return super()._autocommit(work)
        return self._joined_statement(work)

    def _in_time(self, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
        """Bound what a worker waits for on Django's connection, until the end of the transaction."""

        def work_in_time(connection: Connection) -> T:
            if self.is_postgresql:
                milliseconds = int(self.timeout * 1000)
                connection.execute(_SET_LIMITS, {"limit": str(milliseconds)})
            return work(connection)

        return work_in_time

    def _joined_statement(self, work: Callable[[Connection], T]) -> T:
        """Run one statement, or reads, without a savepoint around it: a failure then spoils the transaction."""
        try:
            with django_connection(self._alias) as connection:
                return work(connection)
        except DBAPIError:
            if self._is_joined:
                transaction.set_rollback(True, using=self._alias)
            raise

    def _create_engine(self) -> Engine:
        self.url = _url(self._alias)  # tests move the database's name after the project has started
        return super()._create_engine()

    def _retried(self, run: Callable[[], T], wait_timeout: float | None) -> T:
        # The earlier writes of the transaction are lost with it: only its owner can run it again.
        return super()._retried(run, 0 if self._is_joined else wait_timeout)

    @property
    def _is_own(self) -> bool:
        """True with connections of its own."""
        return self._is_in_worker() and not self._is_joined


def _url(alias: str) -> URL:
    database = connections[alias]
    if database.vendor == "sqlite":
        return URL.create("sqlite", database=str(database.settings_dict["NAME"]))
    if database.vendor != "postgresql":
        raise ConfigurationError(
            f"the ledger cannot live in the database {alias!r}, which is {database.display_name}; name one on "
            "PostgreSQL or SQLite with AGENTQ['DATABASE']"
        )
    return _postgresql_url(alias, database.get_connection_params())


def _postgresql_url(alias: str, given: dict[str, Any]) -> URL:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        raise ConfigurationError(
            f"the database {alias!r} is used through psycopg2; agentq shares its connection only through "
            "psycopg 3: pip install 'psycopg[binary]'"
        )
    # What is no text or number is for Django's own connections: cursors, adapters.
    options = {name: str(value) for name, value in given.items() if isinstance(value, (str, int))}
    return URL.create(
        "postgresql+psycopg",
        username=options.pop("user", None),
        password=options.pop("password", None),
        database=options.pop("dbname", None),
        query={name: value for name, value in options.items() if name != "prepare_threshold"},
    )
