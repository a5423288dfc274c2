"""Connections on every ledger: isolation, locks, timeouts, retries, processes."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from celery import Signature
from sqlalchemy import Connection, make_url, select, text, update

from agentq.exceptions import AgentqError, ConfigurationError, LedgerError, LedgerUnavailable
from agentq.ledger.db.session import Ledger, keep_connections
from agentq.ledger.db.urls import parse_url
from agentq.ledger.models import JobRow, WorkerRow
from agentq.ledger.transaction import Transaction
from tests.support import postgresql_database
from tests.support.fake_worker import FakeWorker
from tests.support.processes import at_once
from tests.support.services import end_connections
from tests.support.steps import add


@pytest.fixture
def postgresql(database: str, ledger: Ledger) -> Ledger:
    if database != "postgresql":
        pytest.skip("only PostgreSQL has this")
    return ledger


@pytest.fixture
def sqlite(database: str, ledger: Ledger) -> Ledger:
    if database != "sqlite":
        pytest.skip("only SQLite has this")
    return ledger


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_read_committed_is_in_force_whatever_the_database_says(level: str) -> None:
    isolation = text("SHOW transaction_isolation")
    with postgresql_database(options=f"default_transaction_isolation = '{level}'") as url:
        ledger = Ledger(url)
        seen = [
            ledger.write(lambda tx: tx.connection.scalar(isolation)),
            ledger.read(lambda connection: connection.scalar(isolation)),
            ledger.write_statement(lambda tx: tx.connection.scalar(isolation)),
            ledger.write(lambda tx: tx.connection.scalar(isolation)),
        ]
        ledger.close()
    assert seen == ["read committed"] * 4


def test_sqlite_modes(sqlite: Ledger) -> None:
    def pragma(connection: Connection, name: str) -> object:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    modes = sqlite.read(
        lambda c: [pragma(c, name) for name in ("journal_mode", "foreign_keys", "synchronous")],
    )
    assert modes == ["wal", 1, 1]


def test_sqlite_writers_wait_for_each_other_and_readers_do_not(sqlite: Ledger) -> None:
    FakeWorker(sqlite)
    with closing(other_connection(sqlite)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert sqlite.read(lambda c: c.scalar(select(WorkerRow.pid))) == 1
        release = threading.Timer(0.3, other.execute, ["COMMIT"])
        release.start()
        began = time.monotonic()
        sqlite.write(lambda tx: tx.connection.execute(update(WorkerRow).values(pid=2)))
        assert time.monotonic() - began > 0.25
        release.join()


def other_connection(ledger: Ledger) -> sqlite3.Connection:
    return sqlite3.connect(str(ledger.url.database), isolation_level=None, check_same_thread=False)


def test_processes_that_read_then_write_lose_nothing(ledger: Ledger, ledger_url: str) -> None:
    FakeWorker(ledger)
    at_once(4, count_150_times, ledger_url)
    assert ledger.read(lambda c: c.scalar(select(WorkerRow.refused_messages))) == 600


def count_150_times(url: str) -> None:
    def count(tx: Transaction) -> None:
        seen = tx.connection.scalar(select(WorkerRow.refused_messages).with_for_update())
        tx.connection.execute(update(WorkerRow).values(refused_messages=(seen or 0) + 1))

    ledger = Ledger(url)
    for _ in range(150):
        ledger.write(count)


def test_options_in_the_url_are_kept(postgresql: Ledger) -> None:
    ledger = Ledger(postgresql.url.update_query_dict({"options": "-c search_path=elsewhere"}))
    with closing(ledger):
        assert ledger.read(lambda c: c.scalar(text("SHOW search_path"))) == "elsewhere"
        assert ledger.read(lambda c: c.scalar(text("SHOW statement_timeout"))) == "10s"


def test_a_full_disk_is_waited_for(sqlite: Ledger) -> None:
    FakeWorker(sqlite)
    tries = []

    def write(tx: Transaction) -> None:
        tries.append(1)
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages if len(tries) == 1 else 1_000_000}")
        tx.connection.execute(update(WorkerRow).values(hostname="x" * 200_000))

    sqlite.write(write)
    assert len(tries) == 2


def test_a_plan_that_a_change_of_the_table_made_stale_is_made_again(postgresql: Ledger) -> None:
    with closing(Ledger(postgresql.url)) as other:
        other.write(lambda tx: tx.connection.execute(text("CREATE TABLE changed (a integer)")))
        look = text("SELECT * FROM changed")
        for _ in range(8):  # more than the driver runs before it prepares a statement
            postgresql.read(lambda c: c.execute(look).all())
        other.write(lambda tx: tx.connection.execute(text("ALTER TABLE changed ADD COLUMN b integer")))
        assert postgresql.read(lambda c: c.execute(look).all()) == []


def test_a_deadlock_is_run_again(postgresql: Ledger) -> None:
    first, second = (FakeWorker(postgresql).worker_id for _ in range(2))
    both_hold_one, runs = threading.Barrier(2), []

    def in_order(mine: object, other: object) -> None:
        def write(tx: Transaction) -> None:
            runs.append(mine)
            count = update(WorkerRow).values(refused_messages=WorkerRow.refused_messages + 1)
            tx.connection.execute(count.where(WorkerRow.id == mine))
            if len(runs) <= 2:
                both_hold_one.wait(10)
            tx.connection.execute(count.where(WorkerRow.id == other))

        postgresql.write(write)

    threads = [threading.Thread(target=in_order, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 3
    assert postgresql.read(lambda c: c.scalars(select(WorkerRow.refused_messages)).all()) == [2, 2]


def test_a_connection_that_the_server_closed_is_replaced(postgresql: Ledger, ledger_url: str) -> None:
    fake = FakeWorker(postgresql)
    with psycopg.connect(ledger_url, autocommit=True) as admin:
        assert end_connections(admin) > 0
    fake.run(*fake.start(add.s(1, 2)).dispatches)


def test_a_statement_that_takes_too_long_is_ended(ledger_url: str, postgresql: Ledger) -> None:
    ledger = Ledger(ledger_url, timeout=0.5)
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        ledger.read(lambda c: c.execute(text("SELECT pg_sleep(20)")))
    assert time.monotonic() - began < 10
    ledger.close()


def test_a_lock_that_is_never_free_ends_in_time(ledger: Ledger, ledger_url: str) -> None:
    FakeWorker(ledger)
    impatient = Ledger(ledger_url, timeout=0.5)
    change = update(WorkerRow).values(pid=2)
    claimed, release = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        tx.connection.execute(change)
        claimed.set()
        release.wait(60)

    holder = threading.Thread(target=ledger.write, args=[hold])
    holder.start()
    claimed.wait()
    began = time.monotonic()
    try:
        with pytest.raises(LedgerUnavailable):
            impatient.write(lambda tx: tx.connection.execute(change))
        assert time.monotonic() - began < 10
    finally:
        release.set()
        holder.join()
        impatient.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_absent_or_silent_server_is_an_error_in_time(silent_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed_port = server.getsockname()[1]
    for port in (closed_port, silent_port):
        ledger = Ledger(f"postgresql://someone:hunter2@127.0.0.1:{port}/nothing", timeout=1)
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match=f"127.0.0.1:{port}/nothing does not answer") as error:
            ledger.read(lambda c: c.scalar(text("SELECT 1")))
        assert time.monotonic() - began < 8
        assert "hunter2" not in shown(error.value)


def shown(error: BaseException) -> str:
    """The text that a log would have of an error."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "change",
    [{"status": "nonsense"}, {"remaining": -1}, {"max_attempts": 0, "attempt": 1}],
    ids=lambda change: next(iter(change)),
)
def test_an_error_shows_no_values_of_the_row(ledger: Ledger, change: dict[str, object]) -> None:
    FakeWorker(ledger).start(add.s(123454321, 2))
    values = {**change, "arguments": '[["my-secret-document"], {}]'}
    with pytest.raises(LedgerError, match="refused a statement") as error:
        ledger.write(lambda tx: tx.connection.execute(update(JobRow).values(values)))
    for secret in ("my-secret-document", "123454321"):
        assert secret not in shown(error.value)


def test_a_forked_child_has_connections_of_its_own(ledger: Ledger) -> None:
    fake = FakeWorker(ledger)
    started = fake.start(add.s(1, 2))
    at_once(3, in_child, ledger)
    assert fake.run(*started.dispatches) == 1


def in_child(ledger: Ledger) -> None:
    fake = FakeWorker(ledger)
    fake.run(*fake.start(Signature(add.name, (3, 4))).dispatches)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
        ("sqlite:///file::memory:?uri=true", "in-memory"),
        ("sqlite:///file:ledger?mode=memory&cache=shared&uri=true", "in-memory"),
        ("sqlite:///file:/ledger?vfs=memdb&uri=true", "in-memory"),
        ("mysql://u:hunter2@host/db", "'mysql'"),
        ("hunter2", "cannot be parsed"),
        ("postgresql://u:hunter2@host:port/db", "cannot be parsed"),
        ("", "cannot be parsed"),
    ],
)
def test_a_url_that_cannot_be_a_ledger_is_refused(url: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected) as error:
        parse_url(url)
    assert "hunter2" not in str(error.value)
    assert isinstance(error.value, AgentqError)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_word_for_postgresql_means_the_driver_of_agentq(scheme: str) -> None:
    assert parse_url(f"{scheme}://u@h/d") == make_url("postgresql+psycopg://u@h/d")


@pytest.mark.parametrize(
    ("servers", "hosts"), [("h1:1,h2:2", "host=h1:1&host=h2:2"), ("h1,h2", "host=h1:5432&host=h2:5432")]
)
def test_a_url_names_several_servers_as_the_programs_of_postgresql_take_it(servers: str, hosts: str) -> None:
    url = parse_url(f"postgresql://u:p%40@{servers}/d?target_session_attrs=read-write")
    assert url == make_url(f"postgresql+psycopg://u:p%40@/d?{hosts}&target_session_attrs=read-write")


def test_a_process_forked_while_another_thread_writes_can_write(ledger: Ledger) -> None:
    FakeWorker(ledger)
    ended, change = threading.Event(), update(WorkerRow).values(pid=0)

    def write_always() -> None:
        while not ended.is_set():
            ledger.write(lambda tx: tx.connection.execute(update(WorkerRow).values(pid=WorkerRow.pid + 1)))

    thread = threading.Thread(target=write_always)
    thread.start()
    try:
        codes = [_forked(lambda: ledger.write(lambda tx: tx.connection.execute(change))) for _ in range(30)]
    finally:
        ended.set()
        thread.join()
    assert codes == [0] * 30


def _forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_thread_keeps_one_connection_where_it_says_so_and_else_none(ledger: Ledger) -> None:
    def held_after(begin: Callable[[], None]) -> int:
        begin()
        one = text("SELECT 1")
        for write in (ledger.write_statement, ledger.write):
            assert write(lambda tx: tx.connection.scalar(one)) == 1
        for read in (ledger.read, ledger.read_statement):
            assert read(lambda connection: connection.scalar(one)) == 1
        return ledger.engine.pool.checkedout()  # type: ignore[attr-defined,no-any-return]

    for begin, claimed in ((lambda: None, 0), (keep_connections, 1), (lambda: None, 1)):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(held_after, begin).result() == claimed
