"""What the machine found, each as the shortest story of its own."""

from __future__ import annotations

from celery import group

from agentq.ledger import dead_letters
from agentq.ledger.audit.audit import audit
from agentq.ledger.caretaking import expiry, redelivery
from agentq.ledger.db.session import Ledger
from agentq.states import JobStatus, WorkflowStatus
from tests.stateful.shapes import in_time
from tests.support.player import Player
from tests.support.steps import add


def test_what_expired_in_a_failed_workflow_cancels_it_after_a_replay(ledger: Ledger) -> None:
    player = Player(ledger)
    started = player.start(group(add.s(1, 2), add.s(3, 4).set(expires=60)))
    failing, late = started.bells
    player.fail(player.take(failing))
    player.age(late.job_id, expires_at=1, dispatched_at=1000)
    assert player.write(lambda tx: expiry.expire(tx, 10)) == 0
    assert player.claim(late) is None
    assert player.write(lambda tx: redelivery.ring_again(tx, "celery", 1.0, 10)) == []
    player.write(lambda tx: dead_letters.replay(tx, failing.job_id, actor="ann", reason="again"))
    assert player.write(lambda tx: expiry.expire(tx, 10)) == 1
    assert player.workflow(started.workflow_id).status == WorkflowStatus.CANCELLED
    assert player.job(late.job_id).status == JobStatus.CANCELLED


def test_a_deadline_between_two_attempts_leaves_a_sound_ledger(ledger: Ledger) -> None:
    player = Player(ledger)
    held = player.begin(in_time.s(1))
    player.retry(held, 600)
    player.age(held.job_id, deadline_at=0.01)
    assert player.write(lambda tx: expiry.end_overdue(tx, 10)) == 1
    assert [str(violation) for violation in ledger.read(audit)] == []
