"""The schema is upgraded while workers run: no step is stopped or repeated, and what waited goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection

from agentq.ledger.db import migrate
from agentq.ledger.db.schema import REVISION, VERSION_TABLE
from agentq.ledger.db.session import Ledger
from agentq.runtime.workflow import Workflow
from tests.faults.ledger import locks
from tests.faults.ledger.canvases import require_all, start_all
from tests.faults.ledger.steps import finish, start_later
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.ledgers import REVISIONS
from tests.support.postgres import Postgres
from tests.support.steps import add, meet

SETTINGS = {"lease": 4, "ledger_timeout": 2, "redispatch_after": 0.5}
HELD = 2
_CHANGE = sql.SQL("UPDATE {} SET version_num = %s").format(sql.Identifier(VERSION_TABLE))


@pytest.fixture(scope="module")
def running(shared_postgres: Postgres) -> Iterator[Stack]:
    """A worker that lives through all these upgrades."""
    arguments = ("-I", "tests.faults.ledger.steps")
    with (
        redis_server() as broker,
        stack(broker, shared_postgres.url, settings=SETTINGS, arguments=arguments, concurrency=HELD + 1) as at,
    ):
        yield at


@pytest.mark.long
@covers(Fault.CONFLICT, Phase.BODY, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER)
@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_an_upgrade_beside_workers_repeats_no_step(
    running: Stack, postgres: Postgres, gates: Gates, revision: str
) -> None:
    folder = str(gates.folder)
    held: list[Workflow[int]] = [
        running.agentq.start(meet.s(1, folder, "gate") | add.s(2)),
        running.agentq.start(finish.s(folder) | add.s(10)),
    ]
    gates.await_reached("gate", HELD)
    beside, logged = start_all(running.agentq, 3), len(postgres.log())
    upgrade = Upgrade(postgres.url, revision)
    with ThreadPoolExecutor(1) as threads:
        with locks.transaction(postgres) as report:
            report.execute("SELECT count(*) FROM agentq_jobs, agentq_workflows")  # locked until its end
            upgraded = threads.submit(upgrade.run)
            eventually(lambda: "lock timeout" in postgres.log()[logged:], what="an upgrade that waits")
            require_all(running.agentq, start_all(running.agentq, 1))  # nobody waits behind it
        assert upgrade.has_locks.wait(20)
        gates.open("gate")
        gates.await_reached("finished")
        locks.await_waiting(postgres)
        upgrade.may_end.set()
        upgraded.result(20)
    beside = [*beside, *start_all(running.agentq, 1)]
    require_all(running.agentq, beside)
    assert [workflow.result(30) for workflow in held] == [3, 11]
    assert [history(workflow) for workflow in held] == [["succeeded"]] * HELD
    assert (gates.reached("gate"), gates.reached("finished")) == (HELD, 1)
    assert running.worker.is_alive
    require_sound(running.agentq)


def test_a_step_of_a_worker_from_before_the_upgrade_starts_workflows(running: Stack, postgres: Postgres) -> None:
    running.agentq.ensure_ledger()
    with versioned(postgres, "9999"):  # newer than the worker's code, which looked when it started
        assert running.agentq.start(start_later.s(0.1)).result(20)
    require_sound(running.agentq)


@contextmanager
def versioned(postgres: Postgres, revision: str) -> Iterator[None]:
    """The ledger says that its schema is of another revision."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(_CHANGE, [revision])
        try:
            yield
        finally:
            admin.execute(_CHANGE, [REVISION])


class Upgrade:
    """An upgrade from before *revision* to the newest one, as one change for everybody else."""

    def __init__(self, url: str, revision: str) -> None:
        self._url = url
        self._revision = revision
        self.has_locks, self.may_end = Event(), Event()

    def run(self) -> None:
        """Do it, again and again while a table is locked; returns when it is committed."""
        with closing(Ledger(self._url)) as ledger:
            ledger.write(lambda tx: self._work(tx.connection), wait_timeout=30)

    def _work(self, connection: Connection) -> None:
        migrate.wait_briefly(connection)
        for revision in reversed(REVISIONS[REVISIONS.index(self._revision) :]):
            migrate.downgrade_below(connection, revision)
        migrate.upgrade_to(connection, REVISION)
        self.has_locks.set()
        assert self.may_end.wait(20)
