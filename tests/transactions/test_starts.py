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
from agentq.operations import tenants
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
def test_a_start_over_a_cap_is_postponed_by_the_commit_or_never(
    at: Stack, session: Session, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    tenant, ledger = f"postponed {is_committed}", at.agentq.ledger
    tenants.set_max_open(ledger, tenant, 0)
    dispatched: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(at.agentq.dispatcher, "publish", dispatched.extend)
        options: dict[str, Any] = {"tenant": tenant, "on_full": "postpone", "session": session}
        workflow = at.agentq.start(add.s(1, 2), **options)
        at.agentq.start_many([add.s(3, 4), add.s(5, 6)], **options)
        jobs = select(JobRow.status, JobRow.blocked_by).where(JobRow.tenant == tenant)
        assert session.execute(jobs).all() == [("blocked", "backlog")] * 3
        session.commit() if is_committed else session.rollback()
        assert dispatched == []
    expected = 3 if is_committed else 0
    assert (started(at, tenant), tenants.get(ledger, tenant).postponed) == (expected, expected)
    tenants.set_max_open(ledger, tenant, 1)
    if is_committed:
        assert workflow.result(20) == 3
        for one in operations.list_(ledger, operations.WorkflowFilter(tenant=tenant)):
            assert agentq.workflow(one.id).result(20) in (3, 7, 11)


def test_what_is_postponed_from_a_loop_or_by_a_call_is_let_in(at: Stack) -> None:
    ledger = at.agentq.ledger

    async def run() -> None:
        one = await agentq.astart(add.s(1, 2), tenant="loop", on_full="postpone")
        more = await agentq.astart_many([add.s(3, 4), add.s(5, 6)], tenant="loop", on_full="postpone")
        assert [(await each_.ajobs())[0].status for each_ in (one, *more)] == ["blocked"] * 3
        await asyncio.to_thread(tenants.set_max_open, ledger, "loop", 1)
        assert [await each_.aresult(20) for each_ in (one, *more)] == [3, 7, 11]

    tenants.set_max_open(ledger, "loop", 0)
    asyncio.run(run())
    tenants.set_max_open(ledger, "default", 0)
    called = add.apply_async((1, 2), on_full="postpone")
    assert called.jobs()[0].status == "blocked"
    tenants.clear_max_open(ledger, "default")
    assert called.result(20) == 3


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
