"""A bell that is rung while the job before is being completed: on PostgreSQL, its claim waits for that commit."""

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
from agentq.ledger.records import Bell, Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Succeed
from agentq.states import JobStatus
from tests.races.overlap import players, somebody_waits, while_open
from tests.support import eventually
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, recorded
from tests.support.steps import add, echo, total


@pytest.fixture
def postgresql_url(database: str, ledger_url: str) -> str:
    if database != "postgresql":
        pytest.skip("SQLite commits too fast for it")
    return ledger_url


def claim_early(player: Player, bell: Bell) -> Claim | None:
    """Claim as the message of a bell that was rung early would."""
    return player.ledger.write_statement(
        lambda tx: attempts.claim(
            *(tx, bell.job_id, bell.step, player.worker_id, moves.new_claim_token(), bell.after_id)
        )
    )


def lock_job(connection: Connection, job_id: UUID) -> None:
    connection.execute(select(JobRow.id).where(JobRow.id == job_id).with_for_update())


def successor_of(held: Claim) -> Bell:
    assert held.successor is not None
    return held.successor


@covers(Fault.CONFLICT, Moment.CLAIM, Moment.HAND_OVER)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_an_early_claim_waits_for_the_completion_before_it(postgresql_url: str, commit: bool) -> None:
    with players(postgresql_url, 2) as (one, two):
        held = one.begin(add.s(1, 2) | add.s(10))
        bell = successor_of(held)
        handed, early = while_open(
            one.ledger,
            lambda tx: recorded(tx, held, Succeed("3")),
            partial(claim_early, two, bell),
            commit=commit,
        )
        assert [each.job_id for each in handed.bells] == [bell.job_id]
        job = one.job(bell.job_id)
        if commit:
            assert early is not None
            assert (early.inputs, early.attempt, job.status) == ("3", 1, JobStatus.RUNNING)
            assert claim_early(one, bell) is None
        else:
            assert early is None
            assert (job.status, job.attempt) == (JobStatus.WAITING, 0)


def test_an_early_claim_begins_after_the_end_of_what_it_waited_for(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two):
        held = one.begin(add.s(1, 2) | add.s(10))
        later = held.started_at + timedelta(seconds=30)

        def complete(tx: Transaction) -> None:
            attempts.record(tx, held, Succeed("3"))
            # As where the claim's statement came first, and then waited for this one.
            tx.connection.execute(update(JobRow).where(JobRow.id == held.job_id).values(finished_at=later))
            tx.connection.execute(update(AttemptRow).values(finished_at=later))

        _, early = while_open(one.ledger, complete, partial(claim_early, two, successor_of(held)))
        assert early is not None
        assert early.started_at >= one.job(held.job_id).finished_at


@covers(Fault.DUPLICATE, Moment.CLAIM)
def test_an_early_claim_of_what_is_not_handed_over_takes_nothing(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two):
        held = one.begin(add.s(1, 2) | add.s(10))
        bell = successor_of(held)
        assert claim_early(two, bell) is None
        one.retry(held)
        assert claim_early(two, bell) is None
        assert (one.job(bell.job_id).status, one.job(bell.job_id).attempt) == (JobStatus.WAITING, 0)


def test_an_early_claim_that_comes_late_is_one_as_any_other(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two):
        held = one.begin(add.s(1, 2) | add.s(10) | add.s(100))
        bell = successor_of(held)
        one.succeed(held, 3)
        claim = claim_early(two, bell)
        assert claim is not None
        assert (claim.inputs, successor_of(claim).after_id) == ("3", bell.job_id)


def test_a_message_that_names_another_job_before_it_takes_nothing(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two):
        done = one.begin(add.s(1, 2) | add.s(0))
        one.succeed(done, 3)
        held = one.begin(add.s(1, 2) | add.s(10))
        bell = successor_of(held)
        for other in (done.job_id, new_id()):
            lie = Bell(**{name: getattr(bell, name) for name in Bell.__slots__} | {"after_id": other})
            assert claim_early(two, lie) is None
        assert one.job(bell.job_id).status == JobStatus.WAITING


@covers(Fault.CONFLICT, Moment.CLAIM, Moment.CANCEL)
def test_an_early_claim_finds_what_was_cancelled_meanwhile(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two):
        held = one.begin(add.s(1, 2) | add.s(10))
        bell = successor_of(held)
        one.succeed(held, 3)
        one.write(lambda tx: moves.cancel_jobs(tx, held.workflow_id))
        one.write(lambda tx: moves.end_workflow(tx, held.workflow_id, "cancelled", reason=""))
        assert claim_early(two, bell) is None
        assert one.job(bell.job_id).status == JobStatus.CANCELLED


@covers(Fault.CONFLICT, Moment.CLAIM)
def test_an_early_claim_that_dies_of_a_deadlock_is_made_again(postgresql_url: str) -> None:
    with players(postgresql_url, 2) as (one, two), ThreadPoolExecutor(1) as pool:
        held = one.begin(add.s(1, 2) | add.s(10))
        bell = successor_of(held)
        one.succeed(held, 3)
        with one.ledger.engine.begin() as connection:
            lock_job(connection, bell.job_id)
            early = pool.submit(claim_early, two, bell)
            eventually(lambda: somebody_waits(one.ledger), what="an early claim that waits")
            # It has the job before, and came first: so it is the one that the server ends.
            lock_job(connection, held.job_id)
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
def test_what_does_not_come_next_by_itself_has_no_early_bell(postgresql_url: str, canvas: object) -> None:
    with players(postgresql_url, 1) as (one,):
        for bell in one.start(canvas).bells:
            assert one.take(bell).successor is None


def test_sqlite_knows_no_early_bells(ledger: Ledger) -> None:
    held = Player(ledger).begin(add.s(1, 2) | add.s(10))
    assert (held.successor is not None) is ledger.is_postgresql
