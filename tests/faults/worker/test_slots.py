"""A worker is killed that runs jobs with limits: the slots come free, and never has a limit more holders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select

from agentq import AgentQ
from agentq.ledger.models import AttemptRow, HoldRow, JobRow, LimitRow
from agentq.states import AttemptOutcome, JobStatus
from tests.faults.worker.pacer_steps import hold_the_slot
from tests.faults.worker.place import LEASE, worker_of
from tests.runtime.queries import history, job_of, ledger_time, require_sound
from tests.runtime.slot_steps import HELD, STRICT_FOR, hold, search, use_licence
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers

_HOLDERS = select(func.count()).where(JobRow.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])).scalar_subquery()
_SEEN = select(LimitRow.used, _HOLDERS)
_CALLS_SEEN = select(LimitRow.used, select(func.count(HoldRow.id)).scalar_subquery())
KNOWN = ("-I", "tests.runtime.slot_steps")
KNOWN_TOO = ("-I", "tests.faults.worker.pacer_steps")


@contextmanager
def watched(agentq: AgentQ, query: Any = _SEEN) -> Iterator[list[int]]:
    """The numbers of slots taken, and of jobs or calls that hold one, that the ledger shows meanwhile."""
    seen, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            for row in agentq.ledger.read(lambda connection: connection.execute(query).all()):
                seen.extend(row)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        is_over.set()
        watcher.join()


@covers(Fault.KILL_WORKER, Phase.BODY)
def test_the_slots_of_a_killed_worker_come_free_for_another_one(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, watched(agentq) as seen:
        with worker_of(redis_broker, ledger_url, concurrency=HELD, arguments=KNOWN) as killed:
            workflows = agentq.start_many([hold.s(number, str(gates.folder)) for number in range(2 * HELD)])
            gates.await_reached("hold", HELD)
            with worker_of(redis_broker, ledger_url, concurrency=HELD + 1, arguments=KNOWN):
                killed.kill()
                gates.await_reached("hold", 2 * HELD, seconds=LEASE + 5)
                gates.open("hold")
                assert [workflow.result(30) for workflow in workflows] == list(range(2 * HELD))
                eventually(lambda: seen[-2:] == [0, 0], what="all slots given back")
        assert max(seen) == HELD
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.BODY)
def test_the_next_job_of_a_limit_whose_only_slot_a_killed_worker_had_starts_soon_by_the_clock_of_the_ledger(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    with client(redis_broker, ledger_url) as agentq:
        with worker_of(redis_broker, ledger_url, arguments=KNOWN_TOO) as killed:
            lost = agentq.start(hold_the_slot.s(folder, "never"))
            gates.await_reached("never")
            with worker_of(redis_broker, ledger_url, arguments=KNOWN_TOO):
                following = agentq.start(hold_the_slot.s(folder, "next"))
                gates.open("next")
                assert job_of(following).status == JobStatus.BLOCKED
                killed_at = ledger_time(agentq)
                killed.kill()
                assert following.result(LEASE + 30) == "next"
        (attempt,) = job_of(following).attempts
        assert 0 < (attempt.started_at - killed_at).total_seconds() <= LEASE + 5
        assert history(lost) == [AttemptOutcome.LOST]
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.BODY)
def test_the_slot_that_a_call_had_when_its_worker_was_killed_comes_free_for_another_call(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, watched(agentq, _CALLS_SEEN) as seen:
        with worker_of(redis_broker, ledger_url, concurrency=2, arguments=KNOWN) as killed:
            workflows = agentq.start_many([search.s(number, str(gates.folder)) for number in range(2)])
            gates.await_reached("search")
            with worker_of(redis_broker, ledger_url, concurrency=2, arguments=KNOWN):
                killed.kill()
                gates.await_reached("search", 2, seconds=LEASE + 5)
                gates.open("search")
                assert [workflow.result(30) for workflow in workflows] == [0, 1]
                eventually(lambda: seen[-2:] == [0, 0], what="all slots given back")
        assert max(seen) == 1
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.BODY)
def test_the_slot_of_a_strict_limit_comes_free_when_no_code_of_a_killed_worker_could_run(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq:
        with worker_of(redis_broker, ledger_url, arguments=KNOWN) as killed:
            workflow = agentq.start(use_licence.s(1, str(gates.folder)))
            gates.await_reached("licence")
            with worker_of(redis_broker, ledger_url, arguments=KNOWN):
                killed.kill()
                gates.open("licence")
                assert workflow.result(STRICT_FOR + LEASE + 15) == 1
        first, second = agentq.ledger.read(
            lambda connection: connection.execute(select(AttemptRow.__table__).order_by(AttemptRow.number)).all()
        )
        assert (second.started_at - first.started_at).total_seconds() >= STRICT_FOR
        require_sound(agentq)
