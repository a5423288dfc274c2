"""Starts join the caller's transaction: they are committed, undone and dispatched with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from celery import group
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import agentq
from agentq.exceptions import InvalidArguments
from agentq.operations import workflows as operations
from tests.runtime.place import Place
from tests.support.steps import add, total


def started(at: Place, tenant: str) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter(tenant=tenant))


def test_bells_go_with_their_savepoint(at: Place, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(at.agentq.dispatcher, "ring", rung.extend)
    outer = at.agentq.start(add.s(1, 2), tenant="nested", session=session)
    with session.begin_nested() as savepoint:
        with session.begin_nested():
            at.agentq.start(add.s(3, 4), tenant="nested", session=session)
        savepoint.rollback()
    with session.begin_nested(), session.begin_nested():
        inner = at.agentq.start(add.s(5, 6), tenant="nested", session=session)
    assert rung == []
    session.commit()
    assert [str(bell.workflow_id) for bell in rung] == [outer.id, inner.id]
    assert started(at, "nested") == 2


def test_a_session_that_is_closed_rings_for_nothing(
    at: Place, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(at.agentq.dispatcher, "ring", rung.extend)
    at.agentq.start(add.s(1, 2), tenant="closed", session=session)
    session.close()
    session.commit()
    assert (rung, started(at, "closed")) == ([], 0)


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("kind", [AsyncSession, AsyncConnection])
def test_an_asynchronous_transaction_is_joined(
    at: Place, kind: type[AsyncSession] | type[AsyncConnection], is_committed: bool
) -> None:
    asyncio.run(start_together(at, kind, f"{kind.__name__} {is_committed}", is_committed))


async def start_together(at: Place, kind: Any, tenant: str, is_committed: bool) -> None:
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
        fan_in = group(add.s(3, 4), add.s(5, 6)) | total.s()
        (other,) = await agentq.astart_many([fan_in], tenant=tenant, session=session)
        if is_committed:
            await session.commit()
            assert (await workflow.aresult(20), await other.aresult(20)) == (3, 18)
    await engine.dispose()
    assert started(at, tenant) == (2 if is_committed else 0)


def test_without_a_session_the_loop_is_free(at: Place) -> None:
    async def run() -> None:
        workflow = await agentq.astart(add.s(1, 2))
        found = await agentq.aworkflow(workflow.id)
        assert (await found.aresult(20), await found.astatus()) == (3, "succeeded")
        assert ([job.step for job in await found.ajobs()], await found.acancel("late")) == ([add.name], False)

    asyncio.run(run())


def test_a_session_of_the_other_kind_is_refused(at: Place, session: Session) -> None:
    with pytest.raises(InvalidArguments, match=r"agentq\.start"):
        asyncio.run(agentq.astart(add.s(1, 2), session=session))  # type: ignore[arg-type]
    with pytest.raises(InvalidArguments, match="astart"):
        at.agentq.start(add.s(1, 2), session=object())  # type: ignore[arg-type]
