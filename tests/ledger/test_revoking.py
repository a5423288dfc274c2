"""Celery's revoke of a job that runs, on every ledger: its attempt may end, and is noted as the last one, once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from agentq.ledger import dead_letters, revokes
from agentq.ledger.caretaking import expiry
from agentq.ledger.models import ActionRow
from agentq.ledger.records import Claim
from agentq.states import JobStatus, WorkflowStatus
from tests.support.player import Player
from tests.support.steps import add

NOTED = ("revoke job", "celery", "it was revoked")


def revoke(player: Player, held: Claim, *, terminate: bool = False) -> None:
    player.write(lambda tx: revokes.revoke(tx, held.job_id, terminate=terminate))


def actions(player: Player) -> list[tuple[Any, ...]]:
    query = select(ActionRow.action, ActionRow.actor, ActionRow.reason).order_by(ActionRow.id)
    return player.ledger.read(lambda c: [tuple(row) for row in c.execute(query)])


def test_it_is_noted_once_however_many_hear_of_it(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    revoke(player, held)
    revoke(player, held)
    assert actions(player) == [NOTED]
    assert player.job(held.job_id).status == JobStatus.RUNNING
    assert player.succeed(held, 3).accepted
    assert player.result(held.workflow_id) == 3


def test_it_is_not_tried_again(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    revoke(player, held)
    player.retry(held)
    assert player.write(lambda tx: expiry.expire(tx, 10)) == 1
    assert player.workflow(held.workflow_id).status == WorkflowStatus.CANCELLED
    assert player.history(held.job_id) == [(1, "retried")]


def test_a_replayed_job_can_be_revoked_again(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    revoke(player, held)
    player.fail(held)
    player.write(lambda tx: dead_letters.replay(tx, held.job_id, actor="ann", reason="mended"))
    player.age(held.job_id, due_at=1)
    again = player.take(*player.due())
    revoke(player, again)
    assert [action for action in actions(player) if action == NOTED] == [NOTED] * 2
    assert player.succeed(again, 3).accepted


def test_with_terminate_it_is_a_cancel(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    revoke(player, held, terminate=True)
    revoke(player, held, terminate=True)
    assert [action for action, *_ in actions(player)] == ["cancel", "cancel job"]
    assert not player.succeed(held, 3).accepted
