"""Many workflows are started together: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

import agentq
from agentq.exceptions import CanvasError, InvalidArguments, KeyConflict
from agentq.ledger.db.urls import parse_url
from agentq.operations import workflows as operations
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import redis_server
from tests.support.steps import add


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module; it finds only after a minute what was not dispatched."""
    folder: Path = tmp_path_factory.mktemp("starting-many")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, settings={"redispatch_after": 60}) as running,
    ):
        yield running


def started_in(at: Stack, tenant: str) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter(tenant=tenant))


def test_handles_come_in_the_order_of_the_canvases(at: Stack) -> None:
    # More than go with one statement; the second kind has more jobs than workflows.
    canvases = [add.s(number, 1) if number % 2 else add.s(number, 1) | add.s(10) for number in range(1_100)]
    workflows = at.agentq.start_many(canvases)
    assert all(workflow.is_new for workflow in workflows)
    expected = [number + 1 if number % 2 else number + 11 for number in range(1_100)]
    assert [workflow.result(60) for workflow in workflows] == expected


def test_start_many_is_exported_for_the_current_app(at: Stack) -> None:
    at.agentq.app.set_current()
    assert [workflow.result(20) for workflow in agentq.start_many([add.s(1, 2), add.s(3, 4)])] == [3, 7]


def test_an_empty_list_starts_no_workflow(at: Stack) -> None:
    assert at.agentq.start_many([]) == []


def test_one_canvas_that_does_not_fit_stops_them_all(at: Stack) -> None:
    with pytest.raises(InvalidArguments, match="argument 'x'"):
        at.agentq.start_many([add.s(1, 2), add.s("one", 2)], tenant="misfit")
    with pytest.raises(CanvasError):
        at.agentq.start_many([add.s(1, 2), "add"], tenant="misfit")
    assert started_in(at, "misfit") == 0


def test_a_key_that_was_started_before_finds_its_workflow(at: Stack) -> None:
    first = at.agentq.start(add.s(1, 2), key="one", tenant="keys")
    found, new = at.agentq.start_many([add.s(1, 2), add.s(3, 4)], keys=["one", "two"], tenant="keys")
    assert (found, found.is_new, new.is_new) == (first, False, True)
    assert (found.result(20), new.result(20)) == (3, 7)
    again = at.agentq.start_many([add.s(1, 2), add.s(3, 4)], keys=["one", "two"], tenant="keys")
    assert again == [found, new]
    assert started_in(at, "keys") == 2


def test_a_key_of_another_canvas_stops_them_all(at: Stack) -> None:
    at.agentq.start(add.s(1, 2), key="taken", tenant="conflict")
    with pytest.raises(KeyConflict):
        at.agentq.start_many([add.s(5, 6), add.s(3, 4)], keys=["free", "taken"], tenant="conflict")
    assert started_in(at, "conflict") == 1


@pytest.mark.parametrize(("keys", "why"), [(["a"], "2 canvases but 1 keys"), (["a", "a"], "'a' is given twice")])
def test_keys_that_do_not_fit_are_refused(at: Stack, keys: list[str], why: str) -> None:
    with pytest.raises(InvalidArguments, match=why):
        at.agentq.start_many([add.s(1, 2), add.s(3, 4)], keys=keys, tenant="refused")
    assert started_in(at, "refused") == 0


def test_a_session_commits_them_or_not(at: Stack) -> None:
    engine = create_engine(parse_url(at.ledger_url))
    with Session(engine) as session:
        at.agentq.start_many([add.s(1, 2), add.s(3, 4)], tenant="session", session=session)
        session.rollback()
    assert started_in(at, "session") == 0
    with Session(engine) as session:
        workflows = at.agentq.start_many([add.s(1, 2), add.s(3, 4)], tenant="session", session=session)
        session.commit()
    assert [workflow.result(20) for workflow in workflows] == [3, 7]
    engine.dispose()
