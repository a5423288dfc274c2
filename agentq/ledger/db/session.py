"""Connections to the ledger: isolation, SQLite modes, timeouts, retries of what may be retried."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agentq.exceptions import ConfigurationError, LedgerError, LedgerUnavailable
from agentq.ledger import limits, moves
from agentq.ledger.after_commit import AfterCommit
from agentq.ledger.db import errors, pgbouncer, postgresql, schema
from agentq.ledger.db.fork import ForkGate
from agentq.ledger.db.statement import run_text
from agentq.ledger.db.urls import parse_url
from agentq.ledger.transaction import NamingOf, Publish, Transaction

T = TypeVar("T")

BEGIN_READING, BEGIN_WRITING = "BEGIN", "BEGIN IMMEDIATE"
"""On SQLite, where one that begins as a reader and then writes fails at once when another one wrote since."""


_of_thread = threading.local()


def keep_connections() -> None:
    """Have this thread keep the connections that it needs often; for threads that are few, live long and work.

    The main thread does so anyhow: a process of Celery's prefork pool has no other that works.
    """
    _of_thread.keeps_connections = True


def _keeps_connections() -> bool:
    return getattr(_of_thread, "keeps_connections", False) or threading.current_thread() is threading.main_thread()


class Ledger:
    """The database behind one ``AgentQ``.

    Connections are opened on first use and once per process: nothing crosses a fork.

    Args:
        url: where the ledger lives.
        timeout: seconds that one statement, or waiting for a lock or a connection, may take.
        publish: publishes the messages of jobs; None where there is no way to the broker.
        naming: what names the limits of jobs; None where the process has no app.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        timeout: float = 10.0,
        publish: Publish | None = None,
        naming: NamingOf | None = None,
    ) -> None:
        self.url = parse_url(url) if isinstance(url, str) else url
        self.timeout = timeout
        self.publish = publish
        self.naming = naming
        self._engines: dict[int, Engine] = {}
        self._kept: dict[tuple[int, int], Connection] = {}
        self._checked: set[int] = set()
        self._gate = contextlib.nullcontext() if self.is_postgresql else ForkGate(self.close)

    @property
    def is_postgresql(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

    @property
    def engine(self) -> Engine:
        """This process's engine. Engines of a parent process are kept untouched, so nothing closes them."""
        pid = os.getpid()
        if pid not in self._engines:
            self._engines[pid] = self._create_engine()
        return self._engines[pid]

    def write(
        self,
        work: Callable[[Transaction], T],
        *,
        wait_timeout: float | None = None,
        publish: Publish | None = None,
    ) -> T:
        """Run *work* in one transaction and return what it returns.

        A transaction that failed for a passing reason, or whose commit got no answer, is run again with a
        growing pause for up to *wait_timeout* seconds (default: the ledger's timeout). So every *work* must
        be guarded: run twice, it must find that it was done.

        The jobs that it collects are dispatched after the commit, by *publish* or else by what the ledger was
        given; a ledger that was given nothing schedules them in the same transaction, for a caretaker.

        Raises LedgerUnavailable after *wait_timeout* seconds.
        """
        return self._write(self._transaction, work, wait_timeout, publish)

    def write_statement(
        self,
        work: Callable[[Transaction], T],
        *,
        wait_timeout: float | None = None,
        publish: Publish | None = None,
    ) -> T:
        """Run *work*, which writes with one statement only, without a transaction around it if that saves one.

        PostgreSQL commits a statement by itself: one round trip instead of three. Otherwise as ``write``.
        """
        run = self._autocommit if self.is_postgresql else self._transaction
        return self._write(run, work, wait_timeout, publish)

    def write_with_application(
        self,
        work: Callable[[Transaction], T],
        *,
        wait_timeout: float | None = None,
        publish: Publish | None = None,
    ) -> T:
        """Run *work*, in which the application's own code writes too, as ``write`` does."""
        return self.write(work, wait_timeout=wait_timeout, publish=publish)

    def read(self, work: Callable[[Connection], T], *, wait_timeout: float | None = None) -> T:
        """Run *work*, which only reads, on one consistent snapshot where the database offers it."""
        return self._retried(lambda: self._transaction(work, begin=BEGIN_READING), wait_timeout)

    def read_statement(self, work: Callable[[Connection], T]) -> T:
        """Run *work*, which reads with one statement only: as ``write_statement``, one round trip."""
        run = self._autocommit if self.is_postgresql else partial(self._transaction, begin=None)
        return self._retried(lambda: run(work), None)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do *work*, which may wait for a database or a broker, from an event loop without blocking it."""
        return await asyncio.to_thread(work)

    def load(self) -> None:
        """Load what connections need, for the processes that are forked from this one; opens none."""
        _ = self.engine

    def close(self) -> None:
        """Close this process's connections."""
        for key in [key for key in self._kept if key[0] == os.getpid()]:
            self._kept.pop(key).close()
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()

    def check_schema(self) -> None:
        """Raise SchemaMismatch unless the schema is the one of this code; asked once per process."""
        pid = os.getpid()
        if pid not in self._checked:
            self._retried(lambda: self._transaction(_require_usable, begin=BEGIN_READING), None)
            self._checked.add(pid)

    def _write(
        self,
        run: Callable[[Callable[[Connection], tuple[T, Transaction]]], tuple[T, Transaction]],
        work: Callable[[Transaction], T],
        wait_timeout: float | None,
        publish: Publish | None,
    ) -> T:
        publish = publish or self.publish

        def work_once(connection: Connection) -> tuple[T, Transaction]:
            tx = Transaction(connection, self.naming)
            done = work(tx)
            if publish is None:
                moves.schedule_dispatches(tx)
            moves.change_workflows(tx)
            return done, tx

        done, tx = self._retried(lambda: run(work_once), wait_timeout)
        if publish is not None:
            self.follow(tx, publish, self._after_commit)
        return done

    def follow(
        self, tx: Transaction, publish: Publish, after_commit: Callable[[Callable[[], object]], None]
    ) -> None:
        """Publish the messages of a transaction, and do what follows it, by *after_commit*."""
        jobs = tx.take_dispatches()
        if jobs:
            after_commit(partial(publish, jobs))
        for work in tx.take_works():
            after_commit(partial(self._do_now_or_later, work))

    def _do_now_or_later(self, work: AfterCommit) -> None:
        # The caller's work is committed, whatever becomes of this: a caretaker does it, and logs what is wrong.
        with contextlib.suppress(LedgerError):
            limits.follow(self, work)

    def _after_commit(self, work: Callable[[], object]) -> None:
        """Run *work* after the commit of the writes: at once, unless they joined the caller's transaction."""
        work()

    def _transaction(self, work: Callable[[Connection], T], *, begin: str | None = BEGIN_WRITING) -> T:
        with (
            self._gate,
            self._connection(not self.is_postgresql, agentq_begin=begin) as connection,
            connection.begin(),
        ):
            return work(connection)

    def _autocommit(self, work: Callable[[Connection], T]) -> T:
        with self._connection(True, isolation_level="AUTOCOMMIT") as connection:
            return work(connection)

    @contextlib.contextmanager
    def _connection(self, is_often: bool, **options: Any) -> Iterator[Connection]:
        """A connection with these options: of the pool, or a kept one where these are asked for often."""
        if not (is_often and _keeps_connections()):
            with self.engine.connect() as connection:
                try:
                    yield connection.execution_options(**options)
                except DBAPIError as error:
                    if errors.needs_other_session(error):
                        connection.invalidate()
                    raise
            return
        key = (os.getpid(), threading.get_ident())
        kept = self._kept.pop(key, None) or self.engine.connect()
        if options.items() - kept.get_execution_options().items():
            kept.execution_options(**options)
        try:
            yield kept
        except BaseException:  # also a time limit in the middle of an answer: it may be in any state
            kept.invalidate()
            raise
        self._kept[key] = kept

    def _retried(self, run: Callable[[], T], wait_timeout: float | None) -> T:
        deadline = time.monotonic() + (self.timeout if wait_timeout is None else wait_timeout)
        pause = 0.02
        while True:
            try:
                return run()
            except PoolTimeout as error:
                if time.monotonic() + pause > deadline:
                    raise LedgerUnavailable(f"no connection to the ledger was free: {error}") from None
            except DBAPIError as error:
                # Nothing is chained: the driver's own text may quote a row, and with it a user's arguments.
                if not errors.may_pass(error):
                    raise LedgerError(f"the ledger refused a statement: {errors.first_line(error)}") from None
                if time.monotonic() + pause > deadline:
                    raise LedgerUnavailable(self._unavailable(error), is_down=errors.is_down(error)) from None
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 1.0)

    def _begin_sqlite(self, connection: Connection) -> None:
        begin = connection.get_execution_options().get("agentq_begin", BEGIN_WRITING)
        if begin is None:
            return
        # SQLite's own wait for a writer begins with a whole millisecond, and soon rises to a hundred.
        deadline, pause = time.monotonic() + self.timeout, 0.0001
        while True:
            try:
                run_text(connection, begin)
                return
            except OperationalError as error:
                if not errors.is_locked(error) or time.monotonic() > deadline:
                    raise
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.2, 0.01)

    def _unavailable(self, error: DBAPIError) -> str:
        where = self.url.render_as_string(hide_password=True)
        why = errors.first_line(error).rstrip(".")
        return f"the ledger at {where} does not answer: {why}. {errors.advice(error)}"

    def _create_engine(self) -> Engine:
        options: dict[str, Any] = {"pool_timeout": self.timeout, "hide_parameters": True}
        if self.is_postgresql:
            options |= postgresql.options(self.timeout, self.url)
        else:
            options["connect_args"] = {"timeout": 0, "check_same_thread": False}
        try:
            engine = create_engine(pgbouncer.without_mode(self.url), **options)
        except (NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                f"the ledger's driver is not installed ({error}); run: pip install 'celery-agentq[postgres]'"
            ) from error
        if self.is_postgresql:
            from agentq.ledger.db import driver  # psycopg comes with an extra

            event.listen(engine, "do_connect", driver.connect)
            event.listen(engine, "connect", postgresql.require_utf8)
            if pgbouncer.is_pooled(self.url):
                event.listen(engine, "connect", pgbouncer.prepare)
        else:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", self._begin_sqlite)
        return engine


def _require_usable(connection: Connection) -> None:
    schema.require_current(connection)
    postgresql.require_utf8_of(connection)


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late and loses updates
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
