"""Counterexamples that the machine found, each as the shortest one of its kind."""

from __future__ import annotations

from celery import group

from agentq.ledger import dead_letters
from agentq.ledger.audit.audit import audit
from agentq.ledger.caretaking import expiry, redelivery
from agentq.ledger.db.session import Ledger
from agentq.states import JobStatus, WorkflowStatus
from tests.stateful.shapes import in_time
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add


def test_a_job_expired_in_a_failed_workflow_cancels_it_after_a_replay(ledger: Ledger) -> None:
    fake = FakeWorker(ledger)
    started = fake.start(group(add.s(1, 2), add.s(3, 4).set(expires=60)))
    failing, late = started.dispatches
    fake.fail(fake.take(failing))
    fake.age(late.job_id, expires_at=1, dispatched_at=1000)
    assert fake.write(lambda tx: expiry.expire(tx, 10)) == 0
    assert fake.claim(late) is None
    assert fake.write(lambda tx: redelivery.redispatch(tx, "celery", 1.0, 10)) == []
    fake.write(lambda tx: dead_letters.replay(tx, failing.job_id, actor="ann", reason="again"))
    assert fake.write(lambda tx: expiry.expire(tx, 10)) == 1
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.CANCELLED
    assert fake.job(late.job_id).status == JobStatus.CANCELLED


def test_a_deadline_between_two_attempts_leaves_a_sound_ledger(ledger: Ledger) -> None:
    fake = FakeWorker(ledger)
    claimed = fake.begin(in_time.s(1))
    fake.retry(claimed, 600)
    fake.age(claimed.job_id, deadline_at=0.01)
    assert fake.write(lambda tx: expiry.end_overdue(tx, 10)) == 1
    assert [str(violation) for violation in ledger.read(audit)] == []
