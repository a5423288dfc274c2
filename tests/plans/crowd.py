"""A ledger that has seen much: what was played once is there many times, each copy under ids of its own."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from functools import partial
from typing import Any

from celery import chain, group
from sqlalchemy import (
    Column,
    ColumnElement,
    String,
    Uuid,
    cast,
    func,
    insert,
    literal,
    literal_column,
    select,
    true,
    type_coerce,
    update,
)

from agentq.ledger import dead_letters
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import now
from agentq.ledger.models import ActionRow, AttemptRow, DeadLetterRow, JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, total

CHAIN = 10
"""Jobs of one workflow that is done."""
_ELSEWHERE = "elsewhere"
"""A queue that no worker of these tests listens to."""
_ID_DIGITS = 8
"""Hexadecimal digits of an id that differ between the copies: those of the time, to some minutes."""


def crowd(url: str, jobs: int) -> None:
    """Fill a ledger with *jobs* jobs that are done, one in twenty that failed, and one in a hundred under way."""
    ledger = Ledger(url, timeout=120)
    try:
        fake = FakeWorker(ledger)
        done = fake.start(chain(add.s(1, 2), *(add.s(1) for _ in range(CHAIN - 1))))
        fake.run(*done.dispatches)
        multiply(ledger, [done.workflow_id], jobs // CHAIN)
        multiply(ledger, [_failed(fake)], jobs // 20)
        under_way = _under_way(fake)
        multiply(ledger, under_way, jobs // 100 // len(under_way))
    finally:
        ledger.close()


def multiply(ledger: Ledger, workflows: Collection[uuid.UUID], times: int, tenants: int = 0) -> None:
    """Copy *workflows*, with all that they have, so many times; for so many new *tenants*, or for their own."""
    rows = {
        WorkflowRow.__table__: WorkflowRow.id.in_(workflows),
        JobRow.__table__: JobRow.workflow_id.in_(workflows),
        AttemptRow.__table__: AttemptRow.job_id.in_(
            select(JobRow.id).where(JobRow.workflow_id.in_(workflows)).scalar_subquery()
        ),
        DeadLetterRow.__table__: DeadLetterRow.workflow_id.in_(workflows),
        ActionRow.__table__: ActionRow.workflow_id.in_(workflows),
    }
    for table, of_these in rows.items():
        ledger.write(partial(_copy, table=table, rows=of_these, times=times, tenants=tenants))


def _copy(tx: Transaction, table: Any, rows: ColumnElement[bool], times: int, tenants: int) -> None:
    first = select(literal(1).label("n")).cte("copies", recursive=True)
    copies = first.union_all(select(first.c.n + 1).where(first.c.n < times))
    values = [_copied(column, copies.c.n, tx.connection.dialect.name, tenants) for column in table.columns]
    source = select(*values).select_from(table.join(copies, true())).where(rows)
    tx.connection.execute(insert(table).from_select(list(table.columns), source))


def _copied(column: Column[Any], copy: ColumnElement[int], dialect: str, tenants: int) -> ColumnElement[Any]:
    """A column of a copy: ids of this ledger's own rows are changed, all in one way."""
    if column.name == "tenant" and tenants:
        return literal("tenant-") + cast(copy % tenants, String())
    if not isinstance(column.type, Uuid) or column.name == "worker_id":
        return column
    if dialect == "postgresql":
        digits = func.lpad(func.to_hex(copy), _ID_DIGITS, "0", type_=String())
        return cast(digits + func.substr(cast(column, String), _ID_DIGITS + 1, type_=String()), Uuid())
    digits = func.printf(literal_column(f"'%0{_ID_DIGITS}x'"), copy, type_=String())
    return type_coerce(digits + func.substr(type_coerce(column, String()), _ID_DIGITS + 1, type_=String()), Uuid())


def _failed(fake: FakeWorker) -> uuid.UUID:
    claimed = fake.begin(add.s(1, 2))
    fake.fail(claimed)
    fake.write(lambda tx: dead_letters.cancel(tx, claimed.job_id, actor="ann", reason="no longer wanted"))
    fake.ledger.write(lambda tx: tx.connection.execute(update(DeadLetterRow).values(handled_at=now())))
    return claimed.workflow_id


def _under_way(fake: FakeWorker) -> list[uuid.UUID]:
    """Make workflows that wait and run; a caretaker has nothing to do for them, or at most one message."""
    queued = fake.start(_elsewhere(add.s(1, 2)) | _elsewhere(echo.s()))
    scheduled = fake.start(_elsewhere(add.s(1, 2)).set(countdown=86_400, expires=172_800))
    running = fake.begin(_elsewhere(add.s(1, 2)) | _elsewhere(echo.s()))
    parts = fake.start(group(*(_elsewhere(add.s(1, 2)) for _ in range(4))) | _elsewhere(total.s()))
    fake.succeed(fake.take(parts.dispatches[0]), 3)
    return [started.workflow_id for started in (queued, scheduled, running, parts)]


def _elsewhere(signature: Any) -> Any:
    return signature.set(queue=_ELSEWHERE)
