"""States of a PostgreSQL that pass: steps are neither stopped nor charged, and the worker is whole afterwards."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from sqlalchemy import make_url

from agentq.exceptions import LedgerUnavailable
from agentq.ledger.db.session import Ledger
from tests.faults.ledger import locks
from tests.faults.ledger.canvases import done_jobs, require_all, start_all
from tests.faults.ledger.steps import finish
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Gates, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.steps import add, meet

SETTINGS = {"lease": 3, "ledger_timeout": 1, "redispatch_after": 0.5}
SLOTS = 3
ROLE = """
CREATE ROLE clerk LOGIN;
GRANT ALL ON SCHEMA public TO clerk;
GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk;
"""


@pytest.fixture(scope="module")
def at(shared_postgres: Postgres) -> Iterator[Stack]:
    """A worker that lives through all these states, as a role that is no superuser."""
    change(shared_postgres, ROLE)
    url = make_url(shared_postgres.url).set(username="clerk").render_as_string()
    arguments = ("-I", "tests.faults.ledger.steps")
    with (
        redis_server() as broker,
        stack(broker, url, settings=SETTINGS, arguments=arguments, concurrency=SLOTS) as at,
    ):
        yield at
    change(shared_postgres, "DROP OWNED BY clerk; DROP ROLE clerk")


def change(postgres: Postgres, statement: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(statement.encode())


@contextmanager
def no_connection_is_free(postgres: Postgres) -> Iterator[None]:
    change(postgres, "ALTER ROLE clerk CONNECTION LIMIT 0")
    locks.end_connections(postgres)
    yield
    change(postgres, "ALTER ROLE clerk CONNECTION LIMIT -1")


@contextmanager
def it_is_restarted(postgres: Postgres) -> Iterator[None]:
    postgres.stop(signal.SIGINT)
    yield
    postgres.start()


@contextmanager
def it_is_shutting_down(postgres: Postgres) -> Iterator[None]:
    with locks.transaction(postgres) as mine:
        locks.end_connections(postgres)
        postgres.ask_to_stop()  # which it does when this transaction is over
        yield
        mine.close()
    postgres.stop()
    postgres.start()


@contextmanager
def idle_connections_are_ended(postgres: Postgres) -> Iterator[None]:
    change(postgres, "ALTER ROLE clerk SET idle_session_timeout = 50")
    locks.end_connections(postgres)
    yield
    change(postgres, "ALTER ROLE clerk RESET idle_session_timeout")
    locks.end_connections(postgres)


STATES: dict[str, Callable[[Postgres], AbstractContextManager[None]]] = {
    state.__name__.replace("_", " "): state
    for state in (no_connection_is_free, it_is_restarted, it_is_shutting_down, idle_connections_are_ended)
}


@covers(Fault.LEDGER_DOWN, Phase.BODY, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_worker_is_whole_again_after_it(
    at: Stack, postgres: Postgres, gates: Gates, state: Callable[[Postgres], AbstractContextManager[None]]
) -> None:
    folder, logged = str(gates.folder), len(postgres.log())
    held = [at.agentq.start(finish.s(folder) | add.s(number)) for number in range(SLOTS)]
    gates.await_reached("gate", SLOTS)
    waiting = start_all(at.agentq, 2)
    with state(postgres):
        gates.open("gate")
        gates.await_reached("finished", SLOTS)
        eventually(lambda: postgres.log()[logged:].count("FATAL") > SLOTS, 20, what="connections that are refused")
    assert [workflow.result(30) for workflow in held] == [1 + number for number in range(SLOTS)]
    require_all(at.agentq, waiting)
    assert [history(workflow) for workflow in held] == [["succeeded"]] * SLOTS
    require_whole(at, gates)


def require_whole(at: Stack, gates: Gates) -> None:
    """Fail unless the worker runs as many steps at once as it may, and the ledger is sound."""
    began = [at.agentq.start(meet.s(number, str(gates.folder), "all")) for number in range(SLOTS)]
    gates.await_reached("all", SLOTS)
    gates.open("all")
    assert [workflow.result(20) for workflow in began] == list(range(SLOTS))
    assert at.worker.is_alive
    require_sound(at.agentq)


@covers(Fault.CUT_LEDGER, Phase.START, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_IN)
def test_connections_that_are_ended_again_and_again_lose_and_repeat_nothing(
    at: Stack, postgres: Postgres, gates: Gates
) -> None:
    before, started = done_jobs(at.agentq), []
    for number in range(20):
        started += start_all(at.agentq, 1)
        eventually(lambda least=before + 4 * number: done_jobs(at.agentq) >= least, 30, what="some more jobs")
        locks.end_connections(postgres)
    require_all(at.agentq, started)
    outcomes = [str(a.outcome) for workflow, _ in started for job in workflow.jobs() for a in job.attempts]
    assert set(outcomes) == {"succeeded"}
    require_whole(at, gates)


def test_an_unresolvable_host_is_waited_for_and_then_reported() -> None:
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        Ledger("postgresql://ledger.invalid/postgres", timeout=0.5).check_schema()
