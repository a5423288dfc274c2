"""The table of moves in ``agentq.states`` is what happens: no other move, and each of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from celery import group
from sqlalchemy import text

from agentq import each
from agentq.ledger import cancels, dead_letters, starts
from agentq.ledger.caretaking import due_jobs, expiry
from agentq.ledger.transaction import Transaction
from agentq.states import JOB_MOVES
from tests.support.player import Player, graph_of
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
def noted(player: Player) -> Iterator[Player]:
    """A player on a ledger that notes every change of a job's status."""
    for statement in _POSTGRESQL if player.ledger.is_postgresql else _SQLITE:
        player.ledger.write(lambda tx, statement=statement: tx.connection.execute(text(statement)))
    yield player
    if player.ledger.is_postgresql:
        player.ledger.write(lambda tx: tx.connection.execute(text("DROP FUNCTION note_move CASCADE")))
        player.ledger.write(lambda tx: tx.connection.execute(text("DROP TABLE moves")))


def test_what_moves_is_what_the_table_allows(noted: Player) -> None:
    _run_through(noted)
    rows = noted.ledger.read(lambda c: c.execute(text("SELECT DISTINCT origin, target FROM moves")).all())
    allowed = {(str(origin), str(target)) for origin, targets in JOB_MOVES.items() for target in targets}
    assert {(origin, target) for origin, target in rows} == allowed


def _run_through(player: Player) -> None:
    player.run(*player.start(group(add.s(1, 2), add.s(3, 4)) | total.s() | echo.s()).bells)
    held = player.begin(add.s(1, 2) | echo.s().set(countdown=60))
    player.retry(held, delay=60)
    player.age(held.job_id, due_at=1)
    (due,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    (again,) = player.retry(player.take(due)).bells
    player.succeed(player.take(again), 3)
    player.fail(player.begin(add.s(1, 2)))
    player.succeed(player.begin(echo.s() | each(echo.s())), "no list")
    for ahead in (player.start(add.s(1, 2)), player.start(add.s(1, 2).set(countdown=60)), None):
        _pass_deadline(player, player.jobs(ahead.workflow_id)[0].id if ahead else player.begin(add.s(1, 2)).job_id)
    for way_on in (_replay, _resolve):
        dead = player.begin(add.s(1, 2))
        player.fail(dead)
        player.write(lambda tx, way_on=way_on, dead=dead: way_on(tx, dead.job_id))
    graph = graph_of(add.s(1, 2))
    player.ledger.write(lambda tx: starts.start(tx, graph, tenant="acme", key=None))  # it has no broker
    for canvas in (add.s(1, 2) | echo.s(), add.s(1, 2).set(countdown=60)):
        _cancel(player, player.start(canvas).workflow_id)
    _cancel(player, player.begin(add.s(1, 2)).workflow_id)
    _lack_parts(player)


def _pass_deadline(player: Player, job_id: uuid.UUID) -> None:
    player.age(job_id, deadline_at=1)
    assert player.write(lambda tx: expiry.end_overdue(tx, 10)) == 1


def _lack_parts(player: Player) -> None:
    begun = player.start(group(add.s(1, 2), add.s(3, 4) | echo.s()) | total.s().set(needs="all", within=60))
    player.succeed(player.take(begun.bells[0]), 3)
    join = next(job.id for job in player.jobs(begun.workflow_id) if job.kind == "join")
    player.age(join, deadline_at=1)
    player.write(lambda tx: expiry.end_overdue(tx, 10))
    player.write(lambda tx: _replay(tx, join))


def _replay(tx: Transaction, job_id: uuid.UUID) -> None:
    dead_letters.replay(tx, job_id, actor="ann", reason="mended")


def _resolve(tx: Transaction, job_id: uuid.UUID) -> None:
    dead_letters.resolve(tx, job_id, "3", actor="ann", reason="done by hand")


def _cancel(player: Player, workflow_id: object) -> None:
    assert player.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="enough"))  # type: ignore[arg-type]
