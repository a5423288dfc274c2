"""The SQLite ledger with many writers: processes, workers, and a outsider that holds the file locked."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest
from celery import chain
from sqlalchemy import make_url

from agentq.ledger.audit.audit import audit
from agentq.ledger.db.session import Ledger
from tests.faults.ledger.canvases import require_all, start_all
from tests.faults.ledger.steps import finish
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import stack
from tests.support import Broker, Gates, Worker, eventually
from tests.support.fake_worker import FakeWorker
from tests.support.faults import Fault, Phase, covers
from tests.support.processes import at_once
from tests.support.steps import add

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")

PROCESSES, WORKFLOWS = 4, 30
WAIT = 0.5
"""Seconds for which a ledger of these tests waits for a lock."""


@covers(Fault.CONFLICT, Phase.START, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER)
def test_processes_that_play_workflows_lose_nothing(ledger: Ledger, ledger_url: str) -> None:
    at_once(PROCESSES, play, ledger_url)
    assert ledger.read(audit) == []
    assert succeeded_jobs(ledger_url) == PROCESSES * WORKFLOWS * 2


def play(url: str) -> None:
    """Some 150 transactions: start, and twice claim and hand over, of each workflow."""
    ledger = Ledger(url)
    fake = FakeWorker(ledger)
    for number in range(WORKFLOWS):
        started = fake.start(chain(add.s(number, 1), add.s(1)))
        assert fake.run(*started.dispatches) == 2
        assert fake.result(started.workflow_id) == number + 2
    ledger.close()


def succeeded_jobs(url: str) -> int:
    with closing(stranger(url)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM agentq_jobs WHERE status = 'succeeded'").fetchone()
        return int(count)


def stranger(url: str) -> sqlite3.Connection:
    """A connection to the file that is not the ledger's."""
    return sqlite3.connect(str(make_url(url).database), isolation_level=None)


@covers(Fault.CONFLICT, Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
def test_workers_share_the_file(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url) as at, Worker(redis_broker, ledger_url, pool="threads") as other:
        require_all(at.agentq, start_all(at.agentq, 5))
        for log in (at.worker.log(), other.log()):
            assert "succeeded in" in log
            assert "locked" not in log


@covers(Fault.CONFLICT, Phase.COMPLETION)
def test_a_completion_outlives_a_lock_longer_than_its_timeout(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    settings, steps = {"ledger_timeout": WAIT, "lease": 8}, ("-I", "tests.faults.ledger.steps")
    with (
        stack(redis_broker, ledger_url, settings=settings, arguments=steps) as at,
        closing(stranger(ledger_url)) as other,
    ):
        workflow = at.agentq.start(finish.s(str(gates.folder)) | add.s(2))
        gates.await_reached("gate")
        other.execute("BEGIN IMMEDIATE")
        gates.open("gate")
        gates.await_reached("finished")
        finished_at = time.monotonic()
        eventually(lambda: time.monotonic() - finished_at > 3 * WAIT, what="longer than a wait")
        other.execute("COMMIT")
        assert workflow.result(20) == 3
        assert history(workflow) == ["succeeded"]
        require_sound(at.agentq)
