"""An outage of the ledger is one line in a worker's log, however many jobs wait for it, and its end another."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import make_url

from tests.runtime.logged import MODULE, await_told, let_pass, told
from tests.runtime.looks import require_sound
from tests.runtime.place import place
from tests.support import Broker, Gates
from tests.support.postgres import Postgres
from tests.support.steps import meet

LEASE = 2.0
SETTINGS = {"lease": LEASE, "ledger_timeout": 0.5, "redispatch_after": 0.5}


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_an_outage_is_one_line_and_its_end_another(
    redis_broker: Broker, postgres: Postgres, gates: Gates, pool: str
) -> None:
    url = make_url(postgres.url).set(password="hunter2").render_as_string(hide_password=False)
    with place(redis_broker, url, module=MODULE, pool=pool, concurrency=3, settings=SETTINGS) as at:
        running = [at.agentq.start(meet.s(number, str(gates.folder), "gate")) for number in range(6)]
        gates.await_reached("gate", 3)
        postgres.stop()
        gates.open("gate")
        (outage,) = await_told(at.worker, "could not be renewed", "WARNING", "ERROR")
        let_pass(2 * LEASE)
        assert told(at.worker, "WARNING", "ERROR") == [outage]
        assert "takes no jobs until it is: the ledger at postgresql" in outage
        assert "Connection refused" in outage
        assert outage.endswith("Steps go on meanwhile, and what they return is recorded when the ledger is back.")
        postgres.start()
        assert [workflow.result(30) for workflow in running] == list(range(6))
        await_told(at.worker, "is renewed again", "INFO")
        lines = [line for line in told(at.worker, "INFO", "WARNING", "ERROR") if "is renewed again" in line]
        assert re.fullmatch(
            r"this worker's lease is renewed again after \d+ s: it takes jobs, and what waited is recorded", *lines
        )
        assert told(at.worker, "WARNING", "ERROR") == [outage]
        log = at.worker.log()
        assert [text for text in ("Traceback", "hunter2") if text in log] == []
        require_sound(at.agentq)
