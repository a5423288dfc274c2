"""A standby takes the place of the ledger's server, and later the other way round: workers and starts go on."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.faults.ledger.canvases import require_all, start_all
from tests.faults.ledger.steps import finish
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.steps import add, meet

SETTINGS = {"lease": 4, "ledger_timeout": 2, "redispatch_after": 0.5}
HELD = 2
_IS_CAUGHT_UP = "SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication"


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Postgres]]:
    """The server that is written to, and one that follows it."""
    with Postgres() as first:
        ledger = Ledger(first.url)
        migrate.upgrade(ledger)
        ledger.close()
        with first.standby() as second:
            yield [first, second]


@pytest.fixture(scope="module")
def at(servers: list[Postgres]) -> Iterator[Stack]:
    """A worker that lives through all changes, and a client beside it, with a URL that names both."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
    arguments = ("-I", "tests.faults.ledger.steps")
    with (
        redis_server() as broker,
        stack(broker, url, settings=SETTINGS, arguments=arguments, concurrency=HELD + 1) as at,
    ):
        yield at


@pytest.mark.long
@covers(Fault.LEDGER_DOWN, Phase.START, Phase.BODY, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER)
@pytest.mark.parametrize("way", ["stopped", "made read-only", "stopped again"])
def test_a_failover_stops_and_repeats_no_step(servers: list[Postgres], at: Stack, gates: Gates, way: str) -> None:
    old, new = servers
    folder = str(gates.folder)
    held = [at.agentq.start(meet.s(1, folder, "gate") | add.s(2)), at.agentq.start(finish.s(folder) | add.s(10))]
    gates.await_reached("gate", HELD)
    if way == "made read-only":
        old.refuse_writes()
    await_caught_up(old)
    if way != "made read-only":
        old.stop()
    gates.open("gate")
    gates.await_reached("finished")
    new.promote()
    started = start_all(at.agentq, 2)  # waits for the new one
    assert [workflow.result(30) for workflow in held] == [3, 11]
    require_all(at.agentq, started)
    assert [history(workflow) for workflow in held] == [["succeeded"]] * HELD
    assert (gates.reached("gate"), gates.reached("finished")) == (HELD, 1)
    due_later = at.agentq.workflow(add.apply_async((1, 2), countdown=0.5).id)
    assert due_later.result(20) == 3
    assert at.worker.is_alive
    require_sound(at.agentq)
    old.stop()
    old.follow(new)
    servers.reverse()


def await_caught_up(server: Postgres) -> None:
    """Return when the standby has all that the server has."""
    with psycopg.connect(server.url, autocommit=True) as admin:
        eventually(lambda: admin.execute(_IS_CAUGHT_UP).fetchone() == (True,), what="a standby without a gap")
