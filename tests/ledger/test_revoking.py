"""Celery's revoke of a job that runs, on every ledger: its attempt may end, and is noted as the last one, once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from agentq.ledger import dead_letters, revokes
from agentq.ledger.caretaking import expiry
from agentq.ledger.models import ActionRow
from agentq.ledger.records import Claim
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

NOTED = ("revoke job", "celery", "it was revoked")


def revoke(fake: FakeWorker, claimed: Claim, *, terminate: bool = False) -> None:
    fake.write(lambda tx: revokes.revoke(tx, claimed.job_id, terminate=terminate))


def actions(fake: FakeWorker) -> list[tuple[Any, ...]]:
    query = select(ActionRow.action, ActionRow.actor, ActionRow.reason).order_by(ActionRow.id)
    return fake.ledger.read(lambda c: [tuple(row) for row in c.execute(query)])


def test_a_revoke_that_many_workers_receive_is_noted_once(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    revoke(fake, claimed)
    revoke(fake, claimed)
    assert actions(fake) == [NOTED]
    assert fake.job(claimed.job_id).status == JobStatus.RUNNING
    assert fake.succeed(claimed, 3).accepted
    assert fake.result(claimed.workflow_id) == 3


def test_a_revoked_job_is_not_tried_again(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    revoke(fake, claimed)
    fake.retry(claimed)
    assert fake.write(lambda tx: expiry.expire(tx, 10)) == 1
    assert fake.workflow(claimed.workflow_id).status == WorkflowStatus.CANCELLED
    assert fake.history(claimed.job_id) == [(1, "retried")]


def test_a_replayed_job_can_be_revoked_again(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    revoke(fake, claimed)
    fake.fail(claimed)
    fake.write(lambda tx: dead_letters.replay(tx, claimed.job_id, actor="ann", reason="fixed"))
    fake.age(claimed.job_id, due_at=1)
    again = fake.take(*fake.due())
    revoke(fake, again)
    assert [action for action in actions(fake) if action == NOTED] == [NOTED] * 2
    assert fake.succeed(again, 3).accepted


def test_a_revoke_with_terminate_is_a_cancel(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    revoke(fake, claimed, terminate=True)
    revoke(fake, claimed, terminate=True)
    assert [action for action, *_ in actions(fake)] == ["cancel", "cancel job"]
    assert not fake.succeed(claimed, 3).accepted
