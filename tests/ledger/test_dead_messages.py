"""Refused messages are dead letters: one for all that are alike, which counts them and opens again."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from agentq.exceptions import NotFound, StateConflict
from agentq.ledger import dead_letter_tasks, refused_messages
from agentq.ledger.audit.audit import audit
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import DeadLetterRow
from agentq.ledger.refused_messages import Refusal, RefusedMessage
from agentq.operations import dead_letters as operations
from agentq.states import DeadLetterKind, DeadLetterStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

OLD = RefusedMessage(
    refusal=Refusal.UNKNOWN_TASK,
    task="shop.old",
    queue="celery",
    content_type="application/json",
    tenant="acme",
    error_class="Refused",
    error_message="no task named 'shop.old' is registered in this worker",
    snapshot='{"task": "shop.old"}',
)


def count(ledger: Ledger, message: RefusedMessage, messages: int = 1) -> None:
    ledger.write(lambda tx: refused_messages.count(tx, message, messages))


def rows(ledger: Ledger) -> list[AnyRow]:
    query = select(DeadLetterRow.__table__).order_by(DeadLetterRow.id)
    return ledger.read(lambda connection: list(connection.execute(query)))


def handle(ledger: Ledger) -> list[uuid.UUID]:
    """Issue what is to be issued and mark it handled, as the task does."""
    issued = ledger.write(lambda tx: dead_letter_tasks.issue_new(tx, 10))
    for letter_id in issued:
        operations.record(ledger, letter_id)
        ledger.write(lambda tx: dead_letter_tasks.mark_handled(tx, letter_id))  # noqa: B023
    return issued


def close(ledger: Ledger, letter_id: uuid.UUID) -> None:
    ledger.write(lambda tx: refused_messages.cancel(tx, letter_id, actor="ann", reason="the producer is gone"))


def test_alike_messages_are_one_letter_that_counts_them(ledger: Ledger) -> None:
    count(ledger, OLD, 999_999)
    count(ledger, replace(OLD, error_message="another text", snapshot='{"task": "another body"}'))
    (row,) = rows(ledger)
    assert (row.kind, row.status, row.messages) == (DeadLetterKind.MESSAGE, DeadLetterStatus.OPEN, 1_000_000)
    assert (row.job_id, row.tenant, row.step, row.error_category) == (None, "acme", "shop.old", "unknown_task")
    assert row.snapshot == OLD.snapshot
    assert row.recorded_at is not None


@pytest.mark.parametrize(
    "other",
    [
        replace(OLD, task="shop.older"),
        replace(OLD, queue="mail"),
        replace(OLD, content_type="application/x-yaml"),
        replace(OLD, error_class="KeyError"),
        replace(OLD, refusal=Refusal.REFUSED),
        replace(OLD, tenant="bolt"),
    ],
    ids=["task", "queue", "content type", "error", "refusal", "tenant"],
)
def test_messages_that_differ_in_what_sent_them_are_letters_of_their_own(
    ledger: Ledger, other: RefusedMessage
) -> None:
    count(ledger, OLD)
    count(ledger, other)
    assert [row.messages for row in rows(ledger)] == [1, 1]


def test_workers_that_count_concurrently_lose_none(ledger: Ledger) -> None:
    threads = [threading.Thread(target=lambda: [count(ledger, OLD, 3) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.messages for row in rows(ledger)] == [240]


def test_a_letter_is_issued_once_however_many_messages_follow(ledger: Ledger) -> None:
    count(ledger, OLD)
    (letter_id,) = handle(ledger)
    count(ledger, OLD, 5)
    assert handle(ledger) == []
    assert operations.get(ledger, str(letter_id)).messages == 6


def test_a_closed_letter_opens_again_and_is_handled_again(ledger: Ledger) -> None:
    count(ledger, OLD)
    (letter_id,) = handle(ledger)
    close(ledger, letter_id)
    (closed,) = rows(ledger)
    assert (closed.status, closed.owner, closed.note) == ("cancelled", "ann", "the producer is gone")
    count(ledger, OLD, 2)
    (row,) = rows(ledger)
    assert (row.id, row.status, row.closed_at, row.messages) == (letter_id, "open", None, 3)
    assert handle(ledger) == [letter_id]


def test_only_an_open_letter_of_messages_can_be_closed(ledger: Ledger, fake: FakeWorker) -> None:
    count(ledger, OLD)
    (row,) = rows(ledger)
    close(ledger, row.id)
    with pytest.raises(StateConflict, match="is cancelled, but must be open"):
        close(ledger, row.id)
    fake.fail(fake.begin(add.s(1, 2)))
    of_job = rows(ledger)[-1]
    for letter_id in (of_job.id, uuid.UUID(int=7)):
        with pytest.raises(NotFound, match="no dead letter of messages has the id"):
            close(ledger, letter_id)
    assert rows(ledger)[-1].status == DeadLetterStatus.OPEN


@pytest.mark.unsound
def test_the_audit_finds_a_letter_of_messages_closed_without_an_action(ledger: Ledger) -> None:
    count(ledger, OLD)
    (row,) = rows(ledger)
    close(ledger, row.id)
    assert ledger.read(audit) == []
    ledger.write(lambda tx: tx.connection.execute(update(DeadLetterRow).values(owner=None)))
    (violation,) = ledger.read(audit)
    assert (violation.invariant.name, violation.row_id) == ("closed_without_action", row.id)
