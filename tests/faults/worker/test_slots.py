"""A worker is killed that runs jobs with limits: the slots come free, and never has a limit more holders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select

from agentq import AgentQ
from agentq.ledger.models import JobRow, LimitRow
from agentq.states import JobStatus
from tests.faults.worker.place import LEASE, worker_of
from tests.runtime.queries import require_sound
from tests.runtime.slot_steps import HELD, hold
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers

_HOLDERS = select(func.count()).where(JobRow.status.in_([JobStatus.QUEUED, JobStatus.RUNNING])).scalar_subquery()
_SEEN = select(LimitRow.used, _HOLDERS)
KNOWN = ("-I", "tests.runtime.slot_steps")


@contextmanager
def watched(agentq: AgentQ) -> Iterator[list[int]]:
    """The numbers of slots taken, and of jobs that run or are queued, that the ledger shows meanwhile."""
    seen, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            for row in agentq.ledger.read(lambda connection: connection.execute(_SEEN).all()):
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
