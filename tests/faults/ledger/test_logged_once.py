"""An outage of the ledger is one line in a worker's log, however many jobs wait for it, and its end another."""

from __future__ import annotations

import re

import psycopg
import pytest
from sqlalchemy import make_url

from tests.runtime.logged import MODULE, await_logged, let_pass, reported
from tests.runtime.queries import require_sound
from tests.runtime.stack import stack
from tests.support import Broker, Gates, eventually
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.steps import add, meet

LEASE = 2.0
SETTINGS = {"lease": LEASE, "ledger_timeout": 0.5, "redispatch_after": 0.5}


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_an_outage_is_one_line_and_its_end_another(
    redis_broker: Broker, postgres: Postgres, gates: Gates, pool: str
) -> None:
    url = make_url(postgres.url).set(password="hunter2").render_as_string(hide_password=False)
    with stack(redis_broker, url, module=MODULE, pool=pool, concurrency=3, settings=SETTINGS) as at:
        running = [at.agentq.start(meet.s(number, str(gates.folder), "gate")) for number in range(6)]
        gates.await_reached("gate", 3)
        postgres.stop()
        gates.open("gate")
        (outage,) = await_logged(at.worker, "could not be renewed", "WARNING", "ERROR")
        let_pass(2 * LEASE)
        assert reported(at.worker, "WARNING", "ERROR") == [outage]
        assert "takes no jobs until it is: the ledger at postgresql" in outage
        # The server may have gone in the middle of the renewal, which does not say yet that it is away for all.
        assert re.search(
            "Connection refused.*Steps go on until then|closed the connection.*unless it says", outage
        )
        postgres.start()
        assert [workflow.result(30) for workflow in running] == list(range(6))
        await_logged(at.worker, "is renewed again", "INFO")
        lines = [line for line in reported(at.worker, "INFO", "WARNING", "ERROR") if "is renewed again" in line]
        assert re.fullmatch(
            r"this worker's lease is renewed again after \d+ s: it takes jobs, and what waited is recorded", *lines
        )
        assert reported(at.worker, "WARNING", "ERROR") == [outage]
        log = at.worker.log()
        assert [text for text in ("Traceback", "hunter2") if text in log] == []
        require_sound(at.agentq)


def test_one_lock_is_one_log_line_though_the_lease_is_renewed(redis_broker: Broker, postgres: Postgres) -> None:
    with stack(redis_broker, postgres.url, module=MODULE, settings=SETTINGS) as at:
        with psycopg.connect(postgres.url) as report:
            report.execute("LOCK TABLE agentq_jobs IN ACCESS EXCLUSIVE MODE")
            (line,) = await_logged(at.worker, "looking for what is due", "WARNING")
            let_pass(2 * LEASE)
            assert reported(at.worker, "WARNING", "ERROR") == [line]
            assert line.startswith(
                "looking for what is due does not go well, and is tried again until it does: Ledger"
            )
            report.rollback()
        await_logged(at.worker, "looking for what is due goes well again, after ", "INFO")
        assert "Traceback" not in at.worker.log()


def test_a_worker_that_is_stopped_in_an_outage_logs_no_traceback(redis_broker: Broker, postgres: Postgres) -> None:
    with stack(redis_broker, postgres.url, module=MODULE, concurrency=2, settings=SETTINGS) as at:
        at.worker.freeze()
        waiting = [at.agentq.start(add.s(number, 1)) for number in range(4)]
        postgres.stop()
        at.worker.thaw()
        await_logged(at.worker, "could not be renewed", "WARNING")
        eventually(lambda: at.worker.log().count(" received") >= 2, 20, what="messages that wait to be taken")
        at.worker.terminate()
        (_, end) = reported(at.worker, "WARNING", "ERROR")
        assert end.startswith(
            "this worker could not sign off, so what it ran waits for the end of its lease: the ledger"
        )
        assert "Traceback" not in at.worker.log()
        postgres.start()
    with stack(redis_broker, postgres.url, settings=SETTINGS) as at:
        assert [at.agentq.workflow(workflow.id).result(30) for workflow in waiting] == [1, 2, 3, 4]


def test_a_worker_that_is_cut_off_alone_says_what_becomes_of_its_steps(
    redis_broker: Broker, proxy: Proxy, gates: Gates
) -> None:
    with stack(redis_broker, proxy.url, module=MODULE, concurrency=1, settings=SETTINGS) as at:
        workflow = at.agentq.start(meet.s(1, str(gates.folder), "gate"))
        gates.await_reached("gate")
        proxy.is_silent = True
        proxy.cut()
        lines = await_logged(at.worker, "its step is stopped", "WARNING")
        proxy.is_silent = False
        assert lines[0].endswith("unless it says by then that it is away for all.")
        await_logged(at.worker, "is renewed again", "INFO")
        gates.open("gate")
        assert workflow.result(30) == 1
