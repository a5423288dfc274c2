"""Starts join the caller's transaction: they are committed, undone and dispatched with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from celery import group
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import agentq
from agentq.exceptions import InvalidArguments
from agentq.ledger.models import JobRow
from agentq.operations import workflows as operations
from tests.runtime.stack import Stack
from tests.support import Gates
from tests.support.steps import add, total
from tests.transactions.steps import count_one_at_a_time


def started(at: Stack, tenant: str) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter(tenant=tenant))


def test_dispatches_go_with_their_savepoint(at: Stack, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatched: list[Any] = []
    monkeypatch.setattr(at.agentq.dispatcher, "publish", dispatched.extend)
    outer = at.agentq.start(add.s(1, 2), tenant="nested", session=session)
    with session.begin_nested() as savepoint:
        with session.begin_nested():
            at.agentq.start(add.s(3, 4), tenant="nested", session=session)
        savepoint.rollback()
    with session.begin_nested(), session.begin_nested():
        inner = at.agentq.start(add.s(5, 6), tenant="nested", session=session)
    assert dispatched == []
    session.commit()
    assert [str(dispatch.workflow_id) for dispatch in dispatched] == [outer.id, inner.id]
    assert started(at, "nested") == 2


def test_a_closed_session_publishes_nothing(at: Stack, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatched: list[Any] = []
    monkeypatch.setattr(at.agentq.dispatcher, "publish", dispatched.extend)
    at.agentq.start(add.s(1, 2), tenant="closed", session=session)
    session.close()
    session.commit()
    assert (dispatched, started(at, "closed")) == ([], 0)


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_job_with_a_limit_is_admitted_after_the_commit_or_never(
    at: Stack, session: Session, monkeypatch: pytest.MonkeyPatch, gates: Gates, is_committed: bool
) -> None:
    dispatched: list[Any] = []
    monkeypatch.setattr(at.agentq.dispatcher, "publish", dispatched.extend)
    tenant = f"limited {is_committed}"
    workflow = at.agentq.start(
        count_one_at_a_time.s("done", str(gates.folder), "body"), tenant=tenant, session=session
    )
    jobs = select(JobRow.status, JobRow.held).where(JobRow.tenant == tenant)
    assert (session.execute(jobs).all(), dispatched) == ([("blocked", 0)], [])
    session.commit() if is_committed else session.rollback()
    expected = [("queued", 1)] if is_committed else []
    assert (session.execute(jobs).all(), len(dispatched)) == (expected, len(expected))
    session.rollback()  # ends the transaction of that question
    if is_committed:
        assert workflow.cancel("seen")
        assert started(at, tenant) == 1


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("kind", [AsyncSession, AsyncConnection])
def test_an_asynchronous_transaction_is_joined(
    at: Stack, kind: type[AsyncSession] | type[AsyncConnection], is_committed: bool, gates: Gates
) -> None:
    asyncio.run(start_together(at, kind, f"{kind.__name__} {is_committed}", is_committed, str(gates.folder)))


async def start_together(at: Stack, kind: Any, tenant: str, is_committed: bool, folder: str) -> None:
    url = make_url(at.ledger_url)
    driver = "sqlite+aiosqlite" if url.get_backend_name() == "sqlite" else "postgresql+asyncpg"
    engine = create_async_engine(url.set(drivername=driver))
    async with kind(engine) as session:
        workflow = await agentq.astart(add.s(1, 2), tenant=tenant, key="one", session=session)
        again = await agentq.astart(add.s(1, 2), tenant=tenant, key="one", session=session)
        assert again == workflow
        async with session.begin_nested() as savepoint:
            await agentq.astart(add.s(1, 2), tenant=tenant, session=session)
            await savepoint.rollback()
        one = count_one_at_a_time.s("done", folder, "limited")
        limited = await agentq.astart(one, tenant=tenant, session=session)
        fan_in = group(add.s(3, 4), add.s(5, 6)) | total.s()
        (other,) = await agentq.astart_many([fan_in], tenant=tenant, session=session)
        if is_committed:
            await session.commit()
            results = [await one.aresult(20) for one in (workflow, limited, other)]
            assert results == [3, "done", 18]
    await engine.dispose()
    assert started(at, tenant) == (3 if is_committed else 0)


def test_without_a_session_the_loop_is_free(at: Stack) -> None:
    async def run() -> None:
        workflow = await agentq.astart(add.s(1, 2))
        found = await agentq.aworkflow(workflow.id)
        assert (await found.aresult(20), await found.astatus()) == (3, "succeeded")
        assert ([job.step for job in await found.ajobs()], await found.acancel("late")) == ([add.name], False)

    asyncio.run(run())


def test_a_session_of_the_other_kind_is_refused(at: Stack, session: Session) -> None:
    with pytest.raises(InvalidArguments, match=r"agentq\.start"):
        asyncio.run(agentq.astart(add.s(1, 2), session=session))  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="astart"):
        at.agentq.start(add.s(1, 2), session=object())  # type: ignore[arg-type]
