"""The table of moves in ``agentq.states`` is what happens: no other move, and each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import group
from sqlalchemy import text

from agentq import each
from agentq.ledger import caretaking, workflows
from agentq.states import JOB_MOVES
from tests.support.player import Player
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
        player.ledger.write(lambda c, statement=statement: c.execute(text(statement)))
    yield player
    if player.ledger.is_postgresql:
        player.ledger.write(lambda c: c.execute(text("DROP FUNCTION note_move CASCADE")))
        player.ledger.write(lambda c: c.execute(text("DROP TABLE moves")))


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
    (due,) = player.ledger.write(lambda c: caretaking.dispatch_due(c, 10))
    (again,) = player.retry(player.take(due)).bells
    player.succeed(player.take(again), 3)
    player.fail(player.begin(add.s(1, 2)))
    player.succeed(player.begin(add.s(1, 2) | each(echo.s())), "no list")
    for canvas in (add.s(1, 2) | echo.s(), add.s(1, 2).set(countdown=60)):
        _cancel(player, player.start(canvas).workflow_id)
    _cancel(player, player.begin(add.s(1, 2)).workflow_id)


def _cancel(player: Player, workflow_id: object) -> None:
    assert player.ledger.write(lambda c: workflows.cancel(c, workflow_id, actor="ann", reason="enough"))  # type: ignore[arg-type]
