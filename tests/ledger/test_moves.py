"""The table of moves in ``agentq.states`` is what happens: no other move, and each of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from celery import group
from sqlalchemy import text

from agentq import each, sleep
from agentq.ledger import cancels, dead_letters, limits, moves, queue_moves, starts
from agentq.ledger.caretaking import due_jobs, expiry, take_backs
from agentq.ledger.records import Dispatch
from agentq.ledger.transaction import Transaction
from agentq.policies.limits import Meters, limit_of_queue
from agentq.states import JOB_MOVES, JobStatus
from tests.support.cooling import call, refused
from tests.support.fake_worker import FakeWorker, graph_of
from tests.support.limited import ask, render
from tests.support.steps import add, echo, total

_NOTE = "INSERT INTO moves VALUES (old.status, new.status)"
_SQLITE = [
    "CREATE TABLE moves (origin TEXT, target TEXT)",
    f"CREATE TRIGGER note_move AFTER UPDATE ON agentq_jobs WHEN old.status <> new.status BEGIN {_NOTE}; END",
]
_POSTGRESQL = [
    _SQLITE[0],
    "CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN IF old.status <> new.status THEN {_NOTE}; END IF; RETURN NULL; END $$",
    "CREATE TRIGGER note_move AFTER UPDATE ON agentq_jobs FOR EACH ROW EXECUTE FUNCTION note_move()",
]


@pytest.fixture
def noted(fake: FakeWorker) -> Iterator[FakeWorker]:
    """A player on a ledger that notes every change of a job's status."""
    for statement in _POSTGRESQL if fake.ledger.is_postgresql else _SQLITE:
        fake.ledger.write(lambda tx, statement=statement: tx.connection.execute(text(statement)))
    yield fake
    if fake.ledger.is_postgresql:
        fake.ledger.write(lambda tx: tx.connection.execute(text("DROP FUNCTION note_move CASCADE")))
        fake.ledger.write(lambda tx: tx.connection.execute(text("DROP TABLE moves")))


def test_every_move_is_allowed_by_the_table(noted: FakeWorker) -> None:
    _run_through(noted)
    rows = noted.ledger.read(lambda c: c.execute(text("SELECT DISTINCT origin, target FROM moves")).all())
    allowed = {(str(origin), str(target)) for origin, targets in JOB_MOVES.items() for target in targets}
    assert {(origin, target) for origin, target in rows} == allowed


def _run_through(fake: FakeWorker) -> None:
    fake.run(*fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s() | echo.s()).dispatches)
    claimed = fake.begin(add.s(1, 2) | echo.s().set(countdown=60))
    fake.retry(claimed, delay=60)
    fake.age(claimed.job_id, due_at=1)
    (due,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    (again,) = fake.retry(fake.take(due)).dispatches
    fake.succeed(fake.take(again), 3)
    fake.fail(fake.begin(add.s(1, 2)))
    fake.succeed(fake.begin(echo.s() | each(echo.s())), "no list")
    for ahead in (fake.start(add.s(1, 2)), fake.start(add.s(1, 2).set(countdown=60)), None):
        _pass_deadline(fake, fake.jobs(ahead.workflow_id)[0].id if ahead else fake.begin(add.s(1, 2)).job_id)
    for way_on in (_replay, _resolve):
        dead = fake.begin(add.s(1, 2))
        fake.fail(dead)
        fake.write(lambda tx, way_on=way_on, dead=dead: way_on(tx, dead.job_id))
    graph = graph_of(add.s(1, 2))
    fake.ledger.write(lambda tx: starts.start(tx, graph, tenant="acme", key=None))  # it has no broker
    for canvas in (add.s(1, 2) | echo.s(), add.s(1, 2).set(countdown=60)):
        _cancel(fake, fake.start(canvas).workflow_id)
    _cancel(fake, fake.begin(add.s(1, 2)).workflow_id)
    _lack_members(fake)
    _block(fake)
    _sleep(fake)


def _pass_deadline(fake: FakeWorker, job_id: uuid.UUID) -> None:
    fake.age(job_id, deadline_at=1)
    assert fake.write(lambda tx: expiry.end_overdue(tx, 10)) == 1


def _lack_members(fake: FakeWorker) -> None:
    begun = fake.start(group(add.s(1, 2), add.s(3, 4) | echo.s()) | total.s().set(needs="all", within=60))
    fake.succeed(fake.take(begun.dispatches[0]), 3)
    join = next(job.id for job in fake.jobs(begun.workflow_id) if job.kind == "join")
    fake.age(join, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    fake.write(lambda tx: _replay(tx, join))


def _sleep(fake: FakeWorker) -> None:
    fake.age(fake.jobs(fake.start(sleep(days=1) | add.s(1, 2)).workflow_id)[0].id, due_at=1)
    fake.ledger.publish = len  # else nothing follows the commit
    fake.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))


def _block(fake: FakeWorker) -> None:
    fake.succeed(fake.begin(add.s(1, 2) | ask.si()), 3)
    fake.age(fake.jobs(fake.start(ask.s().set(countdown=60)).workflow_id)[0].id, due_at=1)
    fake.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    _pass_deadline(fake, fake.jobs(fake.start(ask.s()).workflow_id)[0].id)
    _cancel(fake, fake.start(ask.s()).workflow_id)
    limits.enter_unawaited(fake.ledger)
    _refuse_call(fake)
    _take_back(fake)


def _take_back(fake: FakeWorker) -> None:
    fake.renew(600, queues=[])
    fake.ledger.publish = len  # else they are scheduled
    jobs = [fake.jobs(fake.start(render.s()).workflow_id)[0].id for _ in range(2)]
    limits.enter_unawaited(fake.ledger)
    for job in jobs:
        fake.age(job, dispatched_at=61)
    assert take_backs.take_back(fake.ledger)
    _move_into_line(fake, next(job for job in jobs if fake.job(job).status == JobStatus.BLOCKED))


def _move_into_line(fake: FakeWorker, blocked: uuid.UUID) -> None:
    fake.write(lambda tx: moves.declare(tx, {limit_of_queue("ordered"): Meters(slots=1)}))
    fake.write(lambda tx: queue_moves.move_job(tx, blocked, "ordered", actor="ann", reason="elsewhere"))


def _replay(tx: Transaction, job_id: uuid.UUID) -> None:
    dead_letters.replay(tx, job_id, actor="ann", reason="fixed")


def _resolve(tx: Transaction, job_id: uuid.UUID) -> None:
    dead_letters.resolve(tx, job_id, "3", actor="ann", reason="done by hand")


def _cancel(fake: FakeWorker, workflow_id: object) -> None:
    assert fake.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="enough"))  # type: ignore[arg-type]


def _refuse_call(fake: FakeWorker) -> None:
    started = fake.start(call.s())
    published: list[Dispatch] = []
    fake.ledger.publish = published.extend
    limits.enter_unawaited(fake.ledger)
    [dispatch] = [one for one in published if one.workflow_id == started.workflow_id]
    fake.record(fake.take(dispatch), refused(60))
