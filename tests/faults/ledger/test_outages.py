"""The ledger is down for a while: at a start, at a claim, at a completion, and when a worker comes up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from agentq.exceptions import LedgerUnavailable
from agentq.runtime.workflow import Workflow
from tests.faults.ledger import locks
from tests.faults.ledger.canvases import SHAPES
from tests.faults.ledger.steps import finish
from tests.runtime.queries import history, job_of, require_sound
from tests.runtime.stack import Stack, stack
from tests.support import Broker, Gates, client, eventually, redis_server
from tests.support.faults import Fault, Phase, covers
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.steps import add, count, meet

SHORT = 3.0
"""Seconds of a lease that is shorter than the outages of some tests."""
STEPS = ("-I", "tests.faults.ledger.steps")


def settings(lease: float) -> dict[str, float]:
    return {"lease": lease, "ledger_timeout": 1, "redispatch_after": 0.5}


@pytest.fixture(scope="module")
def running(shared_postgres: Postgres) -> Iterator[Stack]:
    """One worker, with a lease that is longer than the outages of most tests."""
    with (
        redis_server() as broker,
        stack(broker, shared_postgres.url, settings=settings(12), arguments=STEPS) as at,
    ):
        yield at


@pytest.fixture
def at(running: Stack, postgres: Postgres) -> Iterator[Stack]:
    """The place of one test, whose worker knows that the outage before is over; sound at its end."""

    def knows() -> bool:
        log = running.worker.log()
        return log.count("lease could not be renewed") == log.count("lease is renewed again")

    eventually(knows, 20, what="a worker that knows of no outage")
    yield running
    require_sound(running.agentq)


@covers(Fault.LEDGER_DOWN, Phase.START)
@pytest.mark.parametrize("used_before", [False, True], ids=["first use", "used before"])
def test_a_start_fails_clearly_and_publishes_nothing(at: Stack, postgres: Postgres, used_before: bool) -> None:
    canvas, result = SHAPES["fan-in"]
    key = f"digest {used_before}"
    with client(at.broker, postgres.url, ledger_timeout=1) as agentq:
        if used_before:
            agentq.ensure_ledger()
        postgres.stop()
        before, began = published(at.broker), time.monotonic()
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            agentq.start(canvas, key=key)
        assert time.monotonic() - began < 5
        assert published(at.broker) == before
        postgres.start()
        first, second = (agentq.start(canvas, key=key) for _ in range(2))
        assert (first.is_new, second.is_new, first == second) == (True, False, True)
        assert published(at.broker) > before
        assert first.result(20) == result


def published(broker: Broker) -> int:
    """The number of messages that were put into queues so far."""
    with broker.redis as redis:
        calls: int = redis.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"]
    return calls


@covers(Fault.LEDGER_DOWN, Phase.CLAIM)
def test_a_claim_during_an_outage_is_made_after_it(at: Stack, postgres: Postgres, gates: Gates) -> None:
    at.worker.freeze()
    workflow = at.agentq.start(count.s("done", str(gates.folder), "body"))
    job_id = job_of(workflow).id
    postgres.stop()
    at.worker.thaw()
    eventually(lambda: f"{job_id}" in at.worker.log(), 20, what="a message that waits")
    postgres.start()
    assert workflow.result(20) == "done"
    assert (history(workflow), job_of(workflow).attempt) == (["succeeded"], 1)
    assert gates.reached("body") == 1


@covers(Fault.LEDGER_DOWN, Phase.COMPLETION)
def test_an_outcome_is_kept_for_a_ledger_that_is_back_within_the_lease(
    at: Stack, postgres: Postgres, gates: Gates
) -> None:
    workflow = at.agentq.start(finish.s(str(gates.folder)) | add.s(10))
    gates.await_reached("gate")
    logged = len(at.worker.log())
    postgres.stop()
    gates.open("gate")
    gates.await_reached("finished")
    eventually(lambda: "could not be renewed" in at.worker.log()[logged:], what="an outage that is noticed")
    postgres.start()
    assert workflow.result(20) == 11
    assert history(workflow) == ["succeeded"]
    assert gates.reached("gate") == 1


@pytest.fixture(scope="module")
def early(shared_postgres: Postgres) -> Iterator[Stack]:
    """A worker with a short lease that came up before the ledger did."""
    shared_postgres.stop()
    try:
        with (
            redis_server() as broker,
            stack(broker, shared_postgres.url, settings=settings(SHORT), arguments=STEPS) as at,
        ):
            shared_postgres.start()
            yield at
    finally:
        if not shared_postgres.is_up:
            shared_postgres.start()


@covers(Fault.LEDGER_DOWN, Phase.IDLE)
def test_a_worker_that_comes_up_first_waits_for_the_ledger(early: Stack) -> None:
    assert "takes no jobs" in early.worker.log()
    assert early.agentq.start(add.s(1, 2) | add.s(3)).result(20) == 6
    require_sound(early.agentq)


@covers(Fault.LEDGER_DOWN, Phase.COMPLETION)
def test_an_outcome_is_kept_for_a_ledger_that_is_away_for_longer_than_the_lease(
    early: Stack, postgres: Postgres, gates: Gates
) -> None:
    workflow = early.agentq.start(finish.s(str(gates.folder)) | add.s(10))
    gates.await_reached("gate")
    postgres.stop()
    gates.open("gate")
    gates.await_reached("finished")
    await_end_of_lease()
    postgres.start()
    assert workflow.result(20) == 11
    assert history(workflow) == ["succeeded"]
    assert gates.reached("finished") == 1
    require_sound(early.agentq)


@covers(Fault.LEDGER_DOWN, Phase.BODY, Phase.CLAIM)
def test_an_outage_longer_than_the_lease_ends_no_attempt_and_delays_claims(
    early: Stack, postgres: Postgres, gates: Gates
) -> None:
    workflow = early.agentq.start(meet.s(1, str(gates.folder), "gate") | add.s(2))
    gates.await_reached("gate")
    early.worker.freeze()
    waiting = [early.agentq.start(add.s(n, 1)) for n in range(6)]
    postgres.stop()
    early.worker.thaw()
    await_end_of_lease()
    assert is_alive(gates.pids("gate")[0])
    postgres.start()
    assert [one.result(20) for one in waiting] == [n + 1 for n in range(6)]
    gates.open("gate")
    assert workflow.result(20) == 3
    assert [history(one) for one in (workflow, *waiting)] == [["succeeded"]] * 7
    assert gates.reached("gate") == 1
    require_sound(early.agentq)


@covers(Fault.CONFLICT, Phase.BODY)
def test_a_schema_upgrade_that_locks_all_tables_for_longer_than_the_lease_repeats_no_step(
    early: Stack, postgres: Postgres, gates: Gates
) -> None:
    running = early.agentq.start(meet.s(1, str(gates.folder), "gate") | add.s(2))
    finished = early.agentq.start(finish.s(str(gates.folder)) | add.s(10))
    gates.await_reached("gate", 2)
    with psycopg.connect(postgres.url) as upgrade:
        upgrade.execute("LOCK TABLE agentq_workflows, agentq_jobs, agentq_workers IN ACCESS EXCLUSIVE MODE")
        upgrade.execute("ALTER TABLE agentq_jobs ADD COLUMN for_a_while integer")
        gates.open("gate")
        gates.await_reached("finished")
        await_end_of_lease()
        upgrade.rollback()
    assert (running.result(20), finished.result(20)) == (3, 11)
    assert [history(one) for one in (running, finished)] == [["succeeded"]] * 2
    assert (gates.reached("gate"), gates.reached("finished")) == (2, 1)
    require_sound(early.agentq)


@pytest.fixture
def lone(proxy: Proxy) -> Iterator[Stack]:
    """A worker with a short lease and a way to the ledger of its own, beside which other workers keep theirs."""
    with redis_server() as broker, stack(broker, proxy.url, settings=settings(SHORT), arguments=STEPS) as at:
        yield at
        require_sound(at.agentq)


@covers(Fault.CUT_LEDGER, Phase.BODY)
def test_a_worker_that_is_cut_off_alone_stops_its_steps_and_gives_them_back_when_it_returns(
    lone: Stack, proxy: Proxy, postgres: Postgres, gates: Gates
) -> None:
    with client(lone.broker, postgres.url) as agentq:
        workflow = agentq.start(meet.s(1, str(gates.folder), "gate") | add.s(2))
        with cut_off(proxy, postgres, workflow, gates):
            proxy.is_silent = False
            await_return(lone)
        gates.await_reached("gate", 2)
        gates.open("gate")
        assert workflow.result(20) == 3
        assert history(workflow) == ["released", "succeeded"]


@covers(Fault.CUT_LEDGER, Phase.BODY)
def test_the_step_of_a_worker_that_stays_cut_off_is_stopped_and_runs_on_another_worker(
    at: Stack, lone: Stack, proxy: Proxy, postgres: Postgres, gates: Gates
) -> None:
    with client(lone.broker, postgres.url) as agentq:
        workflow = agentq.start(meet.s(1, str(gates.folder), "gate") | add.s(2))
        with cut_off(proxy, postgres, workflow, gates):
            pass
        gates.await_reached("gate", 2)
        proxy.is_silent = False
        await_return(lone)
        gates.open("gate")
        assert workflow.result(20) == 3
        assert history(workflow) == ["lost", "succeeded"]


@covers(Fault.CONFLICT, Phase.SWEEP)
def test_a_stop_during_an_outage_costs_no_attempt(
    lone: Stack, proxy: Proxy, postgres: Postgres, gates: Gates
) -> None:
    with client(lone.broker, postgres.url) as agentq:
        workflow = agentq.start(meet.s(1, str(gates.folder), "gate"))
        logged, refused = len(postgres.log()), "canceling statement due to"
        with cut_off(proxy, postgres, workflow, gates):
            proxy.is_silent = False
            eventually(lambda: refused in postgres.log()[logged:], 20, what="a rescue that failed")
        gates.await_reached("gate", 2)
        gates.open("gate")
        assert workflow.result(20) == 1
        assert history(workflow) == ["released", "succeeded"]


@contextmanager
def cut_off(proxy: Proxy, postgres: Postgres, workflow: Workflow[Any], gates: Gates) -> Iterator[None]:
    """A worker that was cut off at the gate and has stopped its step; inside, no other worker can take the job."""
    gates.await_reached("gate")
    with locks.locked_job(postgres, job_of(workflow).id):
        proxy.is_silent = True
        proxy.cut()
        eventually(lambda: not is_alive(gates.pids("gate")[0]), 20, what="the end of the step's process")
        yield


def await_return(at: Stack) -> None:
    """Return when a worker that was cut off has its lease again: from then on no other worker takes its jobs."""
    eventually(lambda: "lease is renewed again" in at.worker.log(), 20, what="a lease that is renewed again")


def await_end_of_lease() -> None:
    """Return when every lease is over that could be renewed last now."""
    began_at = time.monotonic()
    eventually(lambda: time.monotonic() - began_at > 1.5 * SHORT, what="more than a lease")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
