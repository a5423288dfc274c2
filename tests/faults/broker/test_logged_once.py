"""An outage of the broker is one line of agentq's in a worker's log, and its end another, whatever the pool."""

from __future__ import annotations

import re

import pytest

from tests.faults.broker.shared import SETTINGS, on_sqlite
from tests.runtime.logged import MODULE, await_logged, let_pass, reported
from tests.runtime.queries import require_sound
from tests.runtime.stack import stack
from tests.support import Broker, Gates
from tests.support.steps import add, meet


@on_sqlite
@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_an_outage_is_one_line_and_its_end_another(
    redis_broker: Broker, ledger_url: str, gates: Gates, pool: str
) -> None:
    settings = SETTINGS | {"redispatch_after": 0.5}
    with stack(redis_broker, ledger_url, module=MODULE, pool=pool, concurrency=4, settings=settings) as at:
        running = [at.agentq.start(meet.s(number, str(gates.folder), "gate") | add.s(1)) for number in range(4)]
        gates.await_reached("gate", 4)
        redis_broker.kill()
        gates.open("gate")
        (outage,) = await_logged(at.worker, "takes no messages", "WARNING", "ERROR")
        let_pass(4)
        assert reported(at.worker, "WARNING", "ERROR") == [outage]
        assert re.fullmatch(
            r"the broker takes no messages: \w+: .*; jobs stay queued in the ledger, and are sent when it is back",
            outage,
        )
        redis_broker.start()
        assert [workflow.result(40) for workflow in running] == [1, 2, 3, 4]
        await_logged(at.worker, "takes messages again", "INFO")
        ends = [line for line in reported(at.worker, "INFO") if "takes messages again" in line]
        assert re.fullmatch(r"the broker takes messages again after \d+ s", *ends)
        assert "Traceback" not in at.worker.log()
        require_sound(at.agentq)


@pytest.mark.long
@on_sqlite
def test_an_outage_is_logged_by_an_idle_worker_too(own_broker: Broker, ledger_url: str) -> None:
    with stack(own_broker, ledger_url, module=MODULE) as at:
        own_broker.kill()
        (outage,) = await_logged(at.worker, "takes no messages", "WARNING", "ERROR")
        own_broker.start()
        await_logged(at.worker, "takes messages again", "INFO")
        assert reported(at.worker, "WARNING", "ERROR") == [outage]
        assert "Traceback" not in at.worker.log()
