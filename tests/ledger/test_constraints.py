"""The databases themselves refuse rows that make no sense, from any process."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from agentq.exceptions import LedgerError
from agentq.ledger.db.types import now
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import JOB_FINAL, WORKFLOW_FINAL, AttemptOutcome, JobKind, JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

NONSENSE: list[tuple[Any, dict[str, Any]]] = [
    (JobRow, {"status": "pending"}),
    (JobRow, {"kind": "thing"}),
    (JobRow, {"status": "running", "worker_id": None}),
    (JobRow, {"status": "succeeded"}),
    (JobRow, {"finished_at": now()}),
    (JobRow, {"attempt": -1}),
    (JobRow, {"attempt": 50}),
    (JobRow, {"remaining": -1}),
    (JobRow, {"workflow_id": uuid.uuid4()}),
    (JobRow, {"status": None}),
    (WorkflowRow, {"status": "pending"}),
    (WorkflowRow, {"status": "succeeded"}),
    (WorkflowRow, {"finished_at": now()}),
]


@pytest.mark.parametrize(
    ("table", "values"),
    NONSENSE,
    ids=[f"{table.__name__}-{number}-{'-'.join(values)}" for number, (table, values) in enumerate(NONSENSE)],
)
def test_constraints_refuse_nonsense(fake: FakeWorker, table: Any, values: dict[str, Any]) -> None:
    fake.start(add.s(1, 2))
    with pytest.raises(LedgerError, match="refused a statement"):
        fake.ledger.write(lambda tx: tx.connection.execute(update(table).values(values)))


@pytest.mark.unsound
def test_every_known_state_is_accepted(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    changes: list[Any] = [update(JobRow).values(kind=kind) for kind in JobKind]
    for table, statuses, final in ((JobRow, JobStatus, JOB_FINAL), (WorkflowRow, WorkflowStatus, WORKFLOW_FINAL)):
        for status in statuses:
            changes.append(update(table).values(status=status, finished_at=now() if status in final else None))
    for number, outcome in enumerate(AttemptOutcome):
        changes.append(insert(AttemptRow).values(job_id=claimed.job_id, number=number, outcome=outcome))

    def write(tx: Transaction) -> None:
        for change in changes:
            tx.connection.execute(change)

    fake.ledger.write(write)


def test_an_attempt_ends_once(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.succeed(claimed, 3)
    again = insert(AttemptRow).values(job_id=claimed.job_id, number=1, outcome="lost")
    with pytest.raises(LedgerError):
        fake.ledger.write(lambda tx: tx.connection.execute(again))


@pytest.mark.unsound
def test_a_place_in_a_join_is_taken_once(fake: FakeWorker) -> None:
    first, second = (fake.begin(add.s(1, 2)) for _ in range(2))

    def place(job_id: uuid.UUID) -> None:
        values = {"join_id": uuid.UUID(int=7), "position": 0}
        fake.ledger.write(
            lambda tx: tx.connection.execute(update(JobRow).where(JobRow.id == job_id).values(values))
        )

    place(first.job_id)
    with pytest.raises(LedgerError):
        place(second.job_id)


def test_a_deleted_workflow_deletes_its_rows(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.succeed(claimed, 3)
    fake.ledger.write(lambda tx: tx.connection.execute(delete(WorkflowRow)))
    assert [_count(fake, table) for table in (JobRow, AttemptRow)] == [0, 0]


def _count(fake: FakeWorker, table: Any) -> Any:
    return fake.ledger.read(lambda c: c.scalar(select(func.count()).select_from(table)))
