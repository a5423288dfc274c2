"""The promises of a start, and the answers of its handle."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.orm import Session

from agentq.exceptions import (
    CanvasError,
    KeyConflict,
    LedgerUnavailable,
    NotFound,
    ResultTimeout,
    StepFailed,
    WorkflowCancelled,
)
from agentq.ledger.db.urls import parse_url
from agentq.operations import jobs as job_operations
from agentq.operations import workflows as operations
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Broker, Gates, client, eventually, redis_server
from tests.support.processes import at_once
from tests.support.steps import add, count, fail, flaky, meet, whoami


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module; it finds only after a minute what was not dispatched."""
    folder: Path = tmp_path_factory.mktemp("starting")
    settings = {"redispatch_after": 60}
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, settings=settings) as running,
    ):
        yield running


class TestKeys:
    def test_two_processes_that_start_one_key_get_one_workflow(self, at: Stack, gates: Gates) -> None:
        folder = str(gates.folder)
        at_once(2, start_and_tell, at.broker, at.ledger_url, folder)
        started = sorted(path.read_text().split() for path in gates.folder.glob("*.started"))
        assert len({workflow_id for _, workflow_id in started}) == 1
        assert sorted(is_new for is_new, _ in started) == ["False", "True"]
        assert at.agentq.workflow(started[0][1]).result(20) == 1
        assert gates.reached("body") == 1
        assert workflows_in(at, key="twice") == 1

    def test_the_same_start_again_returns_the_ended_workflow(self, at: Stack) -> None:
        first = at.agentq.start(add.s(1, 2), key="again")
        assert first.result(20) == 3
        second = at.agentq.start(add.s(1, 2), key="again")
        assert (first.is_new, second.is_new, second) == (True, False, first)
        assert second.result(timeout=0) == 3

    def test_another_canvas_under_the_key_is_refused_and_says_what_differs(self, at: Stack) -> None:
        first = at.agentq.start(add.s(1, 2), key="conflict", tenant="acme")
        with pytest.raises(KeyConflict) as refusal:
            at.agentq.start(add.s(1, 2) | flaky.s(failures=0), key="conflict", tenant="acme")
        error = refusal.value
        assert (error.tenant, error.key, error.workflow_id) == ("acme", "conflict", first.id)
        for part in ("'acme'", "'conflict'", first.id, "nothing more where this start has step", "flaky"):
            assert part in str(error)

    def test_keys_are_each_tenants_own(self, at: Stack) -> None:
        ids = {at.agentq.start(add.s(1, 2), key="own", tenant=tenant).id for tenant in ("acme", "umbrella")}
        assert len(ids) == 2


class TestLedgerDown:
    def test_a_ledger_that_is_locked_refuses_the_start_in_time(self, at: Stack) -> None:
        with client(at.broker, at.ledger_url, ledger_timeout=1) as agentq:
            agentq.ensure_ledger()
            engine = create_engine(parse_url(at.ledger_url))
            with engine.connect() as connection:
                lock(connection)
                began = time.monotonic()
                with pytest.raises(LedgerUnavailable, match="does not answer"):
                    agentq.start(add.s(1, 2), key="locked")
                assert time.monotonic() - began < 4
                connection.rollback()
            engine.dispose()
        assert workflows_in(at, key="locked") == 0

    def test_a_ledger_that_is_not_there_refuses_the_start_in_time(self, redis_broker: Broker) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
            url = f"postgresql://user:secret@127.0.0.1:{silent.getsockname()[1]}/ledger"
            with client(redis_broker, url, ledger_timeout=2) as agentq:
                began = time.monotonic()
                with pytest.raises(LedgerUnavailable) as refusal:
                    agentq.start(add.s(1, 2))
                assert time.monotonic() - began < 6
        assert "secret" not in str(refusal.value)
        assert redis_broker.waiting() == 0


class TestNotBefore:
    def test_not_before_runs_then_and_soon_after(self, at: Stack) -> None:
        not_before = datetime.now(UTC) + timedelta(seconds=1)
        workflow = at.agentq.start(add.s(1, 2) | add.s(3), not_before=not_before)
        assert workflow.result(20) == 6
        first = workflow.jobs()[0]
        assert first.started_at is not None
        assert timedelta(0) <= first.started_at - not_before < timedelta(seconds=1.5)

    @pytest.mark.parametrize(
        "not_before",
        [datetime.now(), datetime.now(UTC) - timedelta(days=2), "tomorrow"],
        ids=["naive", "long past", "text"],
    )
    def test_an_invalid_time_is_refused(self, at: Stack, not_before: datetime) -> None:
        with pytest.raises(CanvasError, match="not_before"):
            at.agentq.start(add.s(1, 2), not_before=not_before)


class TestTransactions:
    def test_a_session_dispatches_after_its_commit(self, at: Stack, session: Session) -> None:
        workflow = at.agentq.start(add.s(1, 2), session=session)
        with pytest.raises(NotFound):
            _ = workflow.status
        session.commit()
        assert workflow.result(20) == 3

    def test_a_session_that_rolls_back_leaves_nothing(self, at: Stack, session: Session) -> None:
        gone = at.agentq.start(add.s(1, 2), session=session, key="gone")
        session.rollback()
        kept = at.agentq.start(add.s(1, 2), session=session)
        session.commit()
        assert kept.result(20) == 3
        with pytest.raises(NotFound):
            _ = gone.status
        assert workflows_in(at, key="gone") == 0
        assert "does not exist" not in at.worker.log(), "a message was sent for what was rolled back"

    def test_a_savepoint_is_undone_alone(self, at: Stack, session: Session) -> None:
        before = at.agentq.start(add.s(1, 2), session=session)
        savepoint = session.begin_nested()
        undone = at.agentq.start(add.s(3, 4), session=session)
        savepoint.rollback()
        with session.begin_nested():
            after = at.agentq.start(add.s(5, 6), session=session)
        with pytest.raises(NotFound):
            _ = after.status
        session.commit()
        assert (before.result(20), after.result(20)) == (3, 11)
        with pytest.raises(NotFound):
            _ = undone.status

    def test_a_connections_workflow_runs_after_the_commit(self, at: Stack, session: Session) -> None:
        connection = session.connection()
        workflow = at.agentq.start(add.s(1, 2), session=connection)
        with pytest.raises(NotFound):
            _ = workflow.status
        connection.commit()
        assert workflow.result(5) == 3


class TestResult:
    def test_a_failure_comes_with_its_fields(self, at: Stack) -> None:
        workflow = at.agentq.start(add.s(1, 2) | fail.si("no such thing") | add.s(1))
        with pytest.raises(StepFailed) as failure:
            workflow.result(20)
        error = failure.value
        job = next(job for job in workflow.jobs() if job.step == fail.name)
        assert (error.workflow_id, error.job_id, error.step) == (workflow.id, str(job.id), fail.name)
        assert (error.attempts, error.error_class, error.error_message) == (1, "ValueError", "no such thing")
        assert error.category == "invalid_input"
        assert str(job.id) in str(error)

    def test_a_timeout_of_zero_does_not_wait(self, at: Stack) -> None:
        workflow = at.agentq.start(add.s(1, 2), not_before=datetime.now(UTC) + timedelta(hours=1))
        began = time.monotonic()
        with pytest.raises(ResultTimeout, match=workflow.id) as refusal:
            workflow.result(timeout=0)
        assert time.monotonic() - began < 1
        assert isinstance(refusal.value, TimeoutError)
        assert workflow.status == WorkflowStatus.RUNNING

    def test_no_such_workflow(self, at: Stack) -> None:
        with pytest.raises(NotFound, match="agentq workflows list"):
            at.agentq.workflow("00000000-0000-7000-8000-000000000000").result(1)

    def test_a_late_result_of_a_cancelled_workflow_is_discarded(self, at: Stack, gates: Gates) -> None:
        folder = str(gates.folder)
        workflow = at.agentq.start(meet.s(1, folder, "gate") | count.s(folder, "after"))
        gates.await_reached("gate")
        assert workflow.cancel("enough", actor="tester")
        gates.open("gate")
        first = workflow.jobs()[0]
        eventually(lambda: f"job={first.id} attempt=1] this worker no longer owned" in at.worker.log(), 20)
        with pytest.raises(WorkflowCancelled, match="enough"):
            workflow.result(5)
        jobs = workflow.jobs()
        assert {(job.status, job.result) for job in jobs} == {(JobStatus.CANCELLED, None)}
        history = job_operations.get(at.agentq.ledger, str(first.id)).attempts
        assert [attempt.outcome for attempt in history] == [AttemptOutcome.CANCELLED]
        assert gates.reached("after") == 0
        assert not workflow.cancel("twice")

    def test_the_tenant_is_recorded_and_shown(self, at: Stack) -> None:
        workflow = at.agentq.start(whoami.s(), tenant="umbrella")
        assert workflow.result(20)["tenant"] == "umbrella"
        shown = operations.get(at.agentq.ledger, workflow.id)
        assert (shown.tenant, {job.tenant for job in shown.jobs}) == ("umbrella", {"umbrella"})
        assert at.agentq.start(whoami.s()).result(20)["tenant"] == "default"


@pytest.fixture
def session(at: Stack) -> Iterator[Session]:
    """The user's own session, on an engine of the user's own."""
    engine = create_engine(parse_url(at.ledger_url))
    with Session(engine) as session:
        yield session
    engine.dispose()


def start_and_tell(broker: Broker, ledger_url: str, folder: str) -> None:
    """Start the key, in a process of its own, and write down what came of it."""
    with client(broker, ledger_url) as agentq:
        workflow = agentq.start(count.s(1, folder, "body"), key="twice")
    Path(folder, f"{time.monotonic_ns()}.started").write_text(f"{workflow.is_new} {workflow.id}")


def lock(connection: Connection) -> None:
    """Keep everybody else from writing until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN IMMEDIATE"))
    else:
        connection.execute(text("LOCK TABLE agentq_workflows IN ACCESS EXCLUSIVE MODE"))


def workflows_in(at: Stack, key: str) -> int:
    return operations.count(at.agentq.ledger, operations.WorkflowFilter(key=key))
