"""Workers that pace one rate together: where the one that does is killed or frozen, another goes on."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from agentq import AgentQ
from agentq.ledger.db.types import now
from agentq.ledger.models import AttemptRow, LimitRow, WorkerRow
from agentq.states import AttemptOutcome
from tests.faults.worker.pacer_steps import GAP, PER, STARTS, call
from tests.faults.worker.place import LEASE, worker_of
from tests.runtime.queries import ledger_time, require_sound
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.paced import most_in

WORKERS = 3
KNOWN = ("-I", "tests.faults.worker.pacer_steps")
LINE = 40
"""Jobs, of which five start in a second."""
LONG_LINE = 70
"""Jobs that still wait when a worker has been frozen past its lease, and goes on."""
FIRST = 5
"""Starts until a caretaker surely paces the limit."""
LEAST_USED = 0.7
"""The share of the rate that is used, on a busy machine too."""

ROUNDING = 0.001
LEDGER_TIMEOUT = 1.5

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@contextmanager
def workers(broker: Broker, ledger_url: str, **settings: Any) -> Iterator[list[Worker]]:
    """Workers of which each has a caretaker that may pace."""
    with ExitStack() as stack:
        options: dict[str, Any] = {"pool": "threads", "concurrency": 2, "arguments": KNOWN, "settings": settings}
        yield [stack.enter_context(worker_of(broker, ledger_url, **options)) for _ in range(WORKERS)]


def pacer(agentq: AgentQ) -> tuple[uuid.UUID, str] | None:
    """The worker that paces the limit at the time, by its id and name; None where none does."""
    query = (
        select(WorkerRow.id, WorkerRow.hostname)
        .join(LimitRow, LimitRow.paced_by == WorkerRow.id)
        .where(LimitRow.paced_until > now())
    )
    row = agentq.ledger.read(lambda connection: connection.execute(query).one_or_none())
    return None if row is None else (row.id, row.hostname)


def attempts(agentq: AgentQ) -> list[Any]:
    """All attempts that have ended."""
    return list(agentq.ledger.read(lambda connection: connection.execute(select(AttemptRow.__table__)).all()))


def require_paced(agentq: AgentQ) -> list[float]:
    """Fail where attempts started over the rate; return when each did, by the ledger's clock."""
    times = sorted(row.started_at.timestamp() for row in attempts(agentq))
    assert most_in(times, PER) <= STARTS
    assert min(after - before for before, after in pairwise(times)) >= GAP - ROUNDING
    return times


def require_one_end_each(agentq: AgentQ, jobs: int) -> None:
    """Fail unless each job has ended once, whatever was lost before."""
    ends = Counter(row.job_id for row in attempts(agentq) if row.outcome != AttemptOutcome.LOST)
    assert (len(ends), set(ends.values())) == (jobs, {1})


def await_other_pacer(agentq: AgentQ, before: uuid.UUID, since: datetime) -> None:
    """Return when another worker paces the limit, which is soon enough by the ledger's clock."""

    def other() -> bool:
        found = pacer(agentq)
        return found is not None and found[0] != before

    eventually(other, LEASE + 30, what="another pacer")
    assert (ledger_time(agentq) - since).total_seconds() <= LEASE + 5


def test_workers_that_share_a_rate_reach_it_and_start_no_job_too_early_or_twice(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, workers(redis_broker, ledger_url):
        for workflow in agentq.start_many([call.s(str(gates.folder))] * LINE):
            workflow.result(60)
        paced = require_paced(agentq)
        assert len(paced) == gates.reached("call") == LINE
        since = paced[FIRST:]
        assert (len(since) - 1) * GAP / (since[-1] - since[0]) >= LEAST_USED
        require_sound(agentq)


@on_postgresql
@covers(Fault.KILL_WORKER, Phase.DISPATCH, Phase.SWEEP)
def test_a_line_whose_pacer_is_killed_is_paced_by_another_worker(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, workers(redis_broker, ledger_url) as all_workers:
        workflows = agentq.start_many([call.s(str(gates.folder))] * LINE)
        gates.await_reached("call", FIRST)
        pacer_id, name = eventually(lambda: pacer(agentq), what="a pacer")
        since = ledger_time(agentq)
        next(worker for worker in all_workers if worker.name == name).kill()
        await_other_pacer(agentq, pacer_id, since)
        for workflow in workflows:
            workflow.result(60)
        require_paced(agentq)
        require_one_end_each(agentq, LINE)
        require_sound(agentq)


@pytest.mark.long
@on_postgresql  # a process that is frozen while it writes to SQLite keeps all others from it
@covers(Fault.FREEZE, Phase.DISPATCH, Phase.SWEEP)
def test_a_line_whose_pacer_is_frozen_is_paced_by_another_one_and_starts_nothing_early_when_it_goes_on(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    # Where it is frozen in a transaction, the database ends that after three times this timeout.
    settings = {"ledger_timeout": LEDGER_TIMEOUT}
    with client(redis_broker, ledger_url) as agentq, workers(redis_broker, ledger_url, **settings) as all_workers:
        workflows = agentq.start_many([call.s(str(gates.folder))] * LONG_LINE)
        gates.await_reached("call", FIRST)
        pacer_id, name = eventually(lambda: pacer(agentq), what="a pacer")
        since = ledger_time(agentq)
        frozen = next(worker for worker in all_workers if worker.name == name)
        frozen.freeze()
        await_other_pacer(agentq, pacer_id, since)
        reached = gates.reached("call")
        gates.await_reached("call", reached + FIRST)
        eventually(lambda: is_over(agentq, pacer_id), 30, what="the end of the lease of the frozen worker")
        assert gates.reached("call") < LONG_LINE - 2 * FIRST
        frozen.thaw()
        for workflow in workflows:
            workflow.result(60)
        require_paced(agentq)
        require_one_end_each(agentq, LONG_LINE)
        assert frozen.is_alive
        require_sound(agentq)


def is_over(agentq: AgentQ, worker_id: uuid.UUID) -> bool:
    """Whether the lease of a worker has ended."""
    query = select(WorkerRow.lease_until < now()).where(WorkerRow.id == worker_id)
    return bool(agentq.ledger.read(lambda connection: connection.scalar(query)))
