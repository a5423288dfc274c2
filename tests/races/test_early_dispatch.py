"""An early message: on PostgreSQL, its claim waits for the commit of the job before."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from celery import group
from sqlalchemy import Connection, select, update

from agentq.ids import new_id
from agentq.ledger import attempts, moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import AttemptRow, JobRow
from agentq.ledger.records import Claim, Dispatch
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Succeed
from agentq.states import JobStatus
from tests.races.overlap import a_session_waits, fakes, while_open
from tests.support import eventually
from tests.support.fake_worker import FakeWorker, record
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, total


@pytest.fixture
def postgresql_url(database: str, ledger_url: str) -> str:
    if database != "postgresql":
        pytest.skip("SQLite commits too fast for it")
    return ledger_url


def claim_early(fake: FakeWorker, dispatch: Dispatch) -> Claim | None:
    """Claim as the message of a message that was dispatched early would."""
    return fake.ledger.write_statement(
        lambda tx: attempts.claim(
            *(tx, dispatch.job_id, dispatch.step, fake.worker_id, moves.new_claim_token(), dispatch.after_id)
        )
    )


def lock_job(connection: Connection, job_id: UUID) -> None:
    connection.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())


def successor_of(claimed: Claim) -> Dispatch:
    assert claimed.successor is not None
    return claimed.successor


@covers(Fault.CONFLICT, Phase.CLAIM, Phase.HAND_OVER)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_an_early_claim_waits_for_the_completion_before_it(postgresql_url: str, commit: bool) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2) | add.s(10))
        dispatch = successor_of(claimed)
        recorded, early = while_open(
            one.ledger,
            lambda tx: record(tx, claimed, Succeed("3")),
            partial(claim_early, two, dispatch),
            commit=commit,
        )
        assert [each.job_id for each in recorded.dispatches] == [dispatch.job_id]
        job = one.job(dispatch.job_id)
        if commit:
            assert early is not None
            assert (early.inputs, early.attempt, job.status) == ("3", 1, JobStatus.RUNNING)
            assert claim_early(one, dispatch) is None
        else:
            assert early is None
            assert (job.status, job.attempt) == (JobStatus.WAITING, 0)


def test_an_early_claim_begins_after_the_end_of_what_it_waited_for(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2) | add.s(10))
        later = claimed.started_at + timedelta(seconds=30)

        def complete(tx: Transaction) -> None:
            attempts.record(tx, claimed, Succeed("3"))
            # As where the claim's statement came first, and then waited for this one.
            tx.connection.execute(update(JobRow).where(JobRow.id == claimed.job_id).values(finished_at=later))
            tx.connection.execute(update(AttemptRow).values(finished_at=later))

        _, early = while_open(one.ledger, complete, partial(claim_early, two, successor_of(claimed)))
        assert early is not None
        assert early.started_at >= one.job(claimed.job_id).finished_at


@covers(Fault.DUPLICATE, Phase.CLAIM)
def test_an_early_claim_of_what_is_not_handed_over_takes_nothing(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2) | add.s(10))
        dispatch = successor_of(claimed)
        assert claim_early(two, dispatch) is None
        one.retry(claimed)
        assert claim_early(two, dispatch) is None
        assert (one.job(dispatch.job_id).status, one.job(dispatch.job_id).attempt) == (JobStatus.WAITING, 0)


def test_an_early_claim_that_comes_late_is_one_as_any_other(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2) | add.s(10) | add.s(100))
        dispatch = successor_of(claimed)
        one.succeed(claimed, 3)
        claim = claim_early(two, dispatch)
        assert claim is not None
        assert (claim.inputs, successor_of(claim).after_id) == ("3", dispatch.job_id)


def test_a_message_that_names_another_job_before_it_takes_nothing(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        done = one.begin(add.s(1, 2) | add.s(0))
        one.succeed(done, 3)
        claimed = one.begin(add.s(1, 2) | add.s(10))
        dispatch = successor_of(claimed)
        for other in (done.job_id, new_id()):
            lie = Dispatch(**{name: getattr(dispatch, name) for name in Dispatch.__slots__} | {"after_id": other})
            assert claim_early(two, lie) is None
        assert one.job(dispatch.job_id).status == JobStatus.WAITING


@covers(Fault.CONFLICT, Phase.CLAIM, Phase.CANCEL)
def test_an_early_claim_finds_a_concurrent_cancel(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2) | add.s(10))
        dispatch = successor_of(claimed)
        one.succeed(claimed, 3)
        one.write(lambda tx: moves.cancel_jobs(tx, claimed.workflow_id))
        one.write(lambda tx: moves.end_workflow(tx, claimed.workflow_id, "cancelled", reason=""))
        assert claim_early(two, dispatch) is None
        assert one.job(dispatch.job_id).status == JobStatus.CANCELLED


@covers(Fault.CONFLICT, Phase.CLAIM)
def test_an_early_claim_that_dies_of_a_deadlock_is_made_again(postgresql_url: str) -> None:
    with fakes(postgresql_url, 2) as (one, two), ThreadPoolExecutor(1) as pool:
        claimed = one.begin(add.s(1, 2) | add.s(10))
        dispatch = successor_of(claimed)
        one.succeed(claimed, 3)
        with one.ledger.engine.begin() as connection:
            lock_job(connection, dispatch.job_id)
            early = pool.submit(claim_early, two, dispatch)
            eventually(lambda: a_session_waits(one.ledger), what="an early claim that waits")
            # It has the job before, and came first: so it is the one that the server ends.
            lock_job(connection, claimed.job_id)
        claim = early.result(30)
        assert claim is not None
        assert (claim.inputs, claim.attempt) == ("3", 1)


@pytest.mark.parametrize(
    "canvas",
    [
        pytest.param(add.s(1, 2), id="nothing comes after it"),
        pytest.param(add.s(1, 2) | add.s(1).set(countdown=60), id="it comes later"),
        pytest.param(group(add.s(1, 2), add.s(3, 4)) | total.s(), id="its fan-in waits for others"),
        pytest.param(add.s(1, 2) | group(echo.s(), echo.s()), id="many come next"),
    ],
)
def test_a_job_with_other_predecessors_has_no_early_dispatch(postgresql_url: str, canvas: object) -> None:
    with fakes(postgresql_url, 1) as (one,):
        for dispatch in one.start(canvas).dispatches:
            assert one.take(dispatch).successor is None


def test_sqlite_has_no_early_dispatch(ledger: Ledger) -> None:
    claimed = FakeWorker(ledger).begin(add.s(1, 2) | add.s(10))
    assert (claimed.successor is not None) is ledger.is_postgresql
