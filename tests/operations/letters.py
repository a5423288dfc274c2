"""Dead letters to look at and to decide about."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select, update

from agentq import step
from agentq.ledger import refused_messages
from agentq.ledger.caretaking import due_jobs
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import DeadLetterRow, JobRow
from agentq.ledger.records import Claim
from agentq.ledger.refused_messages import Refusal, RefusedMessage
from tests.support.fake_worker import FakeWorker

SECRET = "sk-0123456789abcdef0123"
WHO = {"actor": "ann", "reason": "the cause is known"}


@step
def ask(prompt: str, *, limit: int = 10, api_key: str = "", tags: list[str] | None = None) -> dict[str, int]:
    """A step with types to be held to."""
    return {prompt: limit}


def die(fake: FakeWorker, canvas: Any) -> Claim:
    """Start a canvas, claim its first job and let it fail for good."""
    claimed = fake.begin(canvas)
    fake.fail(claimed)
    return claimed


def die_again(fake: FakeWorker) -> Claim:
    """Dispatch the job that was replayed, claim it and let it fail for good."""
    (dispatch,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    claimed = fake.take(dispatch)
    fake.fail(claimed)
    return claimed


def run_due(fake: FakeWorker) -> int:
    """Dispatch what is due and run all that becomes ready; returns how many jobs ran."""
    return fake.run(*fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)))


def forget_step(fake: FakeWorker, job_id: uuid.UUID, name: str = "gone.step") -> None:
    """Let a job be of a step that no code has."""
    fake.ledger.write(
        lambda tx: tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(step=name))
    )


def arguments(fake: FakeWorker, claimed: Claim) -> str:
    """The arguments of a job as the ledger has them."""
    return str(fake.job(claimed.job_id).arguments)


def age(fake: FakeWorker, claimed: Claim, seconds: float) -> None:
    """Let the dead letters of a job be so old."""
    values = {"created_at": seconds_from_now(-seconds)}
    of_job = DeadLetterRow.job_id == claimed.job_id
    fake.ledger.write(lambda tx: tx.connection.execute(update(DeadLetterRow).where(of_job).values(values)))


def refuse_message(fake: FakeWorker, task: str = "no.such.task") -> str:
    """Write the dead letter of a message that no process could take; returns its id."""
    message = RefusedMessage(
        Refusal.UNKNOWN_TASK, task, "celery", "application/json", "default", "KeyError", "no such task", "{}"
    )
    fake.ledger.write(lambda tx: refused_messages.count(tx, message))
    of_messages = select(DeadLetterRow.id).where(DeadLetterRow.step == task)
    return str(fake.ledger.read(lambda c: c.scalar(of_messages)))
