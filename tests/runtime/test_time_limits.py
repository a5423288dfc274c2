"""Time limits: what each pool ends in time, and what a worker says at its start that its pool cannot."""

from __future__ import annotations

import pytest

from agentq.exceptions import StepFailed
from tests.runtime.limited import block, look_at_the_clock, save_in_time, save_in_time_too, wait
from tests.runtime.stack import stack
from tests.support import Broker, Gates, Worker

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")

LIMITED = ("-I", "tests.runtime.limited")
UNENFORCED = "pool cannot end a step that is over its time limit"


def warnings(worker: Worker) -> list[str]:
    """The worker's warnings about limits, line by line."""
    return [line for line in worker.log().splitlines() if UNENFORCED in line]


def end_of(workflow: object) -> tuple[str | None, str]:
    """The category and the class of the error that a workflow failed of."""
    with pytest.raises(StepFailed) as failure:
        workflow.result(20)  # type: ignore[attr-defined]
    return failure.value.category, failure.value.error_class


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_worker_names_the_steps_whose_limits_its_pool_cannot_enforce(
    redis_broker: Broker, ledger_url: str, pool: str
) -> None:
    with stack(redis_broker, ledger_url, pool=pool, arguments=LIMITED) as at:
        (line,) = warnings(at.worker)
        assert f"the {pool} pool" in line
        assert f"{look_at_the_clock.name}, {save_in_time.name};" in line  # not what the loop can end
        assert "--pool=prefork" in line
        assert "ctx.deadline" in line
        assert at.agentq.start(look_at_the_clock.s()).result(20) is True
        assert at.agentq.start(block.s(1.5)).result(20) == "done"  # over both its limits


def test_a_worker_names_only_steps_that_come_to_it(redis_broker: Broker, ledger_url: str) -> None:
    with Worker(redis_broker, ledger_url, pool="solo", queues="other", arguments=LIMITED) as worker:
        assert warnings(worker) == []


def test_prefork_enforces_both_limits_and_leaves_time_to_save(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with stack(redis_broker, ledger_url, concurrency=1, arguments=LIMITED) as at:
        assert warnings(at.worker) == []
        assert end_of(at.agentq.start(save_in_time.s(str(gates.folder)))) == (
            "timed_out",
            "billiard.exceptions.SoftTimeLimitExceeded",
        )
        assert gates.reached("saved") == 1
        assert end_of(at.agentq.start(wait.s(20)))[0] == "timed_out"  # by its pool or its loop


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_coroutine_over_its_hard_limit_is_abandoned_where_no_process_can_be_killed(
    redis_broker: Broker, ledger_url: str, pool: str
) -> None:
    with stack(redis_broker, ledger_url, pool=pool, concurrency=1, arguments=LIMITED) as at:
        assert end_of(at.agentq.start(wait.s(20))) == ("timed_out", "billiard.exceptions.TimeLimitExceeded")
        assert at.agentq.start(wait.s(0.01)).result(20) == "done"


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_coroutine_over_its_time_saves_before_its_end_is_recorded(
    redis_broker: Broker, ledger_url: str, gates: Gates, pool: str
) -> None:
    with stack(redis_broker, ledger_url, pool=pool, concurrency=1, arguments=LIMITED) as at:
        assert end_of(at.agentq.start(save_in_time_too.s(str(gates.folder)))) == (
            "timed_out",
            "billiard.exceptions.SoftTimeLimitExceeded",
        )
        assert gates.reached("saved") == 1


def test_a_coroutine_that_blocks_the_loop_goes_with_its_process(redis_broker: Broker, ledger_url: str) -> None:
    with stack(redis_broker, ledger_url, concurrency=1, arguments=LIMITED) as at:
        assert end_of(at.agentq.start(block.s(60))) == ("timed_out", "agentq.TimedOut")
        assert at.agentq.start(wait.s(0.01)).result(20) == "done"
