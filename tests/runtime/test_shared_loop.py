"""A step's changes to the event loop that it shares with others, which end with that step."""

from __future__ import annotations

from pathlib import Path

import pytest

import agentq
from agentq.testing.inline import Inline
from tests.runtime.loop_steps import SPOILS, read_on, spoil, use_all
from tests.runtime.stack import stack
from tests.support import Broker

WHOLE = ["in a thread", "in a task", False, None]


@pytest.mark.parametrize("how", SPOILS)
def test_the_step_after_one_that_spoils_the_event_loop_finds_it_whole(agentq_inline: Inline, how: str) -> None:
    before = agentq.start(use_all.s()).result(10)
    assert agentq.start(spoil.s(how) | use_all.si()).result(10) == before


@pytest.mark.parametrize("pool", ["prefork", "asyncio"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_steps_beside_and_after_one_that_spoils_the_event_loop_go_on(
    redis_broker: Broker, ledger_url: str, pool: str, tmp_path: Path
) -> None:
    arguments, gate = ("-I", "tests.runtime.loop_steps"), tmp_path / "gate"
    concurrency = 1 if pool == "prefork" else 2
    with stack(redis_broker, ledger_url, pool=pool, concurrency=concurrency, arguments=arguments) as at:
        reads = at.agentq.start(read_on.s(str(gate))) if pool == "asyncio" else None
        for how in SPOILS:
            assert at.agentq.start(spoil.s(how) | use_all.si()).result(20) == WHOLE
        gate.touch()
        assert reads is None or reads.result(20) == [0, 1, 2, 3]
        assert at.worker.terminate() == 0
