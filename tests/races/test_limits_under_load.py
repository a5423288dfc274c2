"""Many jobs of several limits, with retries, cancels and deaths: no snapshot shows a slot too many or too few."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Queue
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select, text

from agentq import Concurrency, Rate, Tokens, step
from agentq.ledger import attempts, cancels, limits, moves, starts
from agentq.ledger.caretaking import due_jobs, rescues
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow
from agentq.ledger.records import Dispatch, dispatch_of
from agentq.outcomes import Fail, Outcome, RetryLater, Succeed
from agentq.states import JOB_OPEN, JobStatus
from tests.support.fake_worker import FAILURE, FakeWorker, decided, graph_of

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")

JOBS, WORKERS = 150, 4
PATIENCE = 120.0
_SNAPSHOT = text(
    "SELECT name, declared, used, (SELECT count(*) FROM agentq_jobs WHERE name = ANY(limits[1:held])) AS holders,"
    " (SELECT count(*) FROM agentq_jobs WHERE name = ANY(limits) AND status = 'running') AS running,"
    " outstanding, (SELECT count(*) FROM agentq_jobs WHERE name = ANY(limits) AND is_outstanding) AS unpaid,"
    " outstanding_tokens,"
    " (SELECT coalesce(sum(tokens[array_position(limits, name)]), 0) FROM agentq_jobs"
    " WHERE name = ANY(limits) AND is_outstanding) AS unpaid_tokens"
    " FROM agentq_limits"
)


@step(limits=[Concurrency("wide", key="model", limit=3)])
def one(model: str) -> int:
    return 1


@step(limits=[Concurrency("a", limit=2), Concurrency("b", limit=3), Concurrency("wide", key="model", limit=3)])
def many(model: str) -> int:
    return 1


@step(
    limits=[
        Rate("paced", limit=6_000, per=60, burst=2),
        Concurrency("wide", key="model", limit=3),
        Tokens("wide", key="model", limit=10_000_000, per=60, estimate=100),
    ]
)
def paid(model: str) -> int:
    return 1


class MortalLedger(Ledger):
    """A ledger whose process dies now and then after a commit, before what follows it."""

    def _do_now_or_later(self, work: Any) -> None:
        if random.random() > 0.2:
            super()._do_now_or_later(work)


class Load:
    """Workers, a caretaker and an operator at work on one ledger."""

    def __init__(self, url: str) -> None:
        self.url = url
        # No SimpleQueue: where several wait, one whose time is over while another takes the item waits for ever.
        self.messages: Queue[Dispatch] = Queue()
        self.is_over = threading.Event()
        self.deadlocks = 0

    def ledger(self) -> Ledger:
        ledger = MortalLedger(self.url, publish=self.publish)
        event.listen(ledger.engine, "handle_error", self.count_deadlock)
        return ledger

    def publish(self, dispatches: Any) -> None:
        for dispatch in dispatches:
            if random.random() > 0.1:
                self.messages.put(dispatch)

    def count_deadlock(self, context: Any) -> None:
        self.deadlocks += getattr(context.original_exception, "sqlstate", None) == "40P01"

    def until_over(self, work: Callable[[Ledger], object]) -> None:
        ledger = self.ledger()
        try:
            while not self.is_over.is_set():
                work(ledger)
        except BaseException:
            self.is_over.set()
            raise
        finally:
            ledger.close()

    def work(self, ledger: Ledger) -> None:
        """Be one worker until it dies."""
        fake = FakeWorker(ledger)
        while not self.is_over.is_set():
            try:
                claimed = fake.claim(self.messages.get(timeout=0.05))
            except Empty:
                continue
            if claimed is None:
                continue
            time.sleep(claimed.begins_in + random.uniform(0, 0.004))  # until its start, and the step
            if random.random() < 0.03:
                fake.renew(-1)
                return
            outcome: Outcome = random.choices(
                [Succeed("1"), RetryLater(FAILURE, 0), RetryLater(FAILURE, 0.01), Fail(FAILURE)], [80, 6, 8, 6]
            )[0]
            used = random.choice([None, 50, 150])
            is_one = attempts.is_one_statement(claimed, outcome, used)
            write = ledger.write_statement if is_one else ledger.write
            write(lambda tx: attempts.record(tx, claimed, outcome, used=used))  # noqa: B023

    def take_care(self, ledger: Ledger) -> None:
        """Be a caretaker for one round, and publish the messages that were lost."""
        ledger.write(lambda tx: due_jobs.dispatch_due(tx, 100))
        ledger.write(lambda tx: rescues.rescue_lost(tx, decided(0), 100))
        limits.fill(ledger)
        limits.enter_unawaited(ledger)
        some = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED, JobRow.held > 0).limit(3)
        for job in ledger.read(lambda connection: connection.scalars(some).all()):
            ledger.write(lambda tx, job=job: moves.take_back(tx, job, 0.0))
        queued = select(*moves.DISPATCH).where(JobRow.status == JobStatus.QUEUED)
        if self.messages.empty():
            self.publish(map(dispatch_of, ledger.read(lambda connection: connection.execute(queued).all())))
        time.sleep(0.05)

    def cancel_one(self, ledger: Ledger) -> None:
        """Cancel a workflow, whatever its job is doing."""
        time.sleep(0.1)
        any_open = select(JobRow.workflow_id).where(JobRow.status.in_(sorted(JOB_OPEN))).order_by(func.random())
        found = ledger.read(lambda connection: connection.scalar(any_open.limit(1)))
        if found is not None:
            ledger.write(lambda tx: cancels.cancel(tx, found, actor="ann", reason="enough"))

    def start(self, ledger: Ledger) -> None:
        for number in range(JOBS // 10):
            graphs = [graph_of(random.choice((one, many, paid)).s(random.choice("xy"))) for _ in range(10)]
            for graph in graphs:
                graph.nodes[0].max_attempts = 900
            plans = [starts.plan(graph, tenant=f"tenant-{number % 3}", key=None) for graph in graphs]
            ledger.write(lambda tx: starts.start_all(tx, plans))  # noqa: B023


def snapshot(connection: Connection) -> list[Any]:
    return list(connection.execute(_SNAPSHOT))


def test_no_snapshot_of_a_busy_ledger_shows_a_slot_too_many_or_too_few(ledger_url: str) -> None:
    load = Load(ledger_url)
    seen: list[Any] = []
    open_jobs = select(func.count()).where(JobRow.status.in_(sorted(JOB_OPEN)))
    works = [*[load.work] * WORKERS, load.take_care, load.cancel_one]
    ledger = load.ledger()
    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(load.until_over, work) for work in works]
        try:
            load.start(ledger)
            deadline = time.monotonic() + PATIENCE
            while ledger.read(lambda connection: connection.scalar(open_jobs)) and not load.is_over.is_set():
                seen += ledger.read_statement(snapshot)
                assert time.monotonic() < deadline, "jobs are left over"
                time.sleep(0.02)
        finally:
            load.is_over.set()
    for future in running:
        future.result()
    assert [row for row in seen if row.used != row.holders] == []
    with_slots = [row for row in seen if row.declared is not None]
    assert [row for row in with_slots if row.used > row.declared or row.running > row.declared] == []
    assert [row for row in seen if row.outstanding != row.unpaid] == []
    assert [row for row in seen if row.outstanding_tokens != row.unpaid_tokens] == []
    limits.fill(ledger)
    assert {row.used for row in ledger.read_statement(snapshot)} == {0}
    assert load.deadlocks == 0
    assert len(seen) > 20
    ledger.close()
