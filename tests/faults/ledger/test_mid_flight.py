"""Workflows under way while the ledger's server or its connections go, again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.ledger.canvases import done_jobs, require_all, start_all
from tests.faults.ledger.locks import end_connections
from tests.runtime.stack import Stack, stack
from tests.support import eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy

SETTINGS = {"lease": 5, "redispatch_after": 0.5}
ROUNDS = 6

INTERRUPTS: dict[str, Callable[[Postgres, Proxy], object]] = {
    "server restarted": lambda postgres, proxy: postgres.restart(),
    "connections ended by the server": lambda postgres, proxy: end_connections(postgres),
    "connections cut on the way": lambda postgres, proxy: proxy.cut(),
}
_EVERYWHERE = (Phase.CLAIM, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN, Phase.SWEEP)


@pytest.fixture(scope="module")
def running(shared_postgres: Postgres) -> Iterator[tuple[Stack, Proxy]]:
    """One worker for the module, and the proxy before its ledger."""
    with (
        redis_server() as broker,
        Proxy(shared_postgres.url) as proxy,
        stack(broker, proxy.url, settings=SETTINGS) as at,
    ):
        yield at, proxy


@covers(Fault.LEDGER_DOWN, *_EVERYWHERE)
@covers(Fault.CUT_LEDGER, *_EVERYWHERE)
@pytest.mark.parametrize("interrupt", INTERRUPTS.values(), ids=INTERRUPTS)
def test_all_that_runs_ends_once(
    running: tuple[Stack, Proxy], postgres: Postgres, interrupt: Callable[[Postgres, Proxy], object]
) -> None:
    at, proxy = running
    done_before = done_jobs(at.agentq)
    started = start_all(at.agentq, 8)
    for number in range(ROUNDS):
        eventually(lambda: done_jobs(at.agentq) > done_before + number * 25, 30, what="progress")  # noqa: B023
        interrupt(postgres, proxy)
    require_all(at.agentq, started)
    assert at.worker.is_alive
