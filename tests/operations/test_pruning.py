"""Pruning deletes what was over long ago, all of it, and nothing else."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest
from celery import group
from sqlalchemy import func, select, update

from agentq.exceptions import InvalidArguments, NotFound
from agentq.ledger import retention as ledger_pruning
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import ActionRow, AttemptRow, Base, DeadLetterRow, JobRow, WorkflowRow
from agentq.operations import dead_letters, pruning, workflows
from agentq.states import JobStatus, WorkflowStatus
from tests.operations.letters import die, refuse_message
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, total

DAY = 86_400.0


def old(fake: FakeWorker, workflow_id: uuid.UUID, seconds: float = 2 * DAY) -> uuid.UUID:
    """Let a workflow have begun and ended so long ago."""
    ended_at = seconds_from_now(-seconds)
    workflow = update(WorkflowRow).where(WorkflowRow.id == workflow_id).values(finished_at=ended_at)
    jobs = update(JobRow).where(JobRow.workflow_id == workflow_id, JobRow.started_at.is_not(None))
    for aged in (workflow, jobs.values(started_at=ended_at)):
        fake.ledger.write(lambda tx, aged=aged: tx.connection.execute(aged))
    return workflow_id


def done(fake: FakeWorker, canvas: Any = None, **start: Any) -> uuid.UUID:
    """A workflow that succeeded two days ago."""
    started = fake.start(canvas or echo.s(1), **start)
    fake.run(*started.dispatches)
    return old(fake, started.workflow_id)


def kept(fake: FakeWorker) -> set[uuid.UUID]:
    """The workflows that are there."""
    return set(fake.ledger.read(lambda c: c.scalars(select(WorkflowRow.id)).all()))


def rows(fake: FakeWorker, *tables: type[Base]) -> list[int]:
    """The number of rows in these tables."""
    return fake.ledger.read(lambda c: [c.scalar(select(func.count()).select_from(table)) or 0 for table in tables])


def test_a_dry_run_counts_rows_and_deletes_nothing(fake: FakeWorker) -> None:
    done(fake, group(add.s(1, 2), add.s(3, 4)) | total.s())
    planned = pruning.prune(fake.ledger, older_than=DAY, dry_run=True)
    assert (planned.workflows, planned.dead_letters, planned.is_dry_run, planned.is_complete) == (
        1,
        0,
        True,
        True,
    )
    before = rows(fake, WorkflowRow, JobRow, AttemptRow)
    pruned = pruning.prune(fake.ledger, older_than=DAY)
    assert pruned == planned.model_copy(update={"is_dry_run": False})
    assert before[1] == pruned.jobs
    assert rows(fake, WorkflowRow, JobRow, AttemptRow) == [0, 0, 0]


def test_prune_keeps_younger_and_running_workflows(fake: FakeWorker) -> None:
    gone = done(fake)
    recent = old(fake, done(fake), DAY / 2)
    running = fake.start(echo.s(1)).workflow_id
    pruning.prune(fake.ledger, older_than=DAY)
    assert kept(fake) == {recent, running}
    with pytest.raises(NotFound):
        workflows.get(fake.ledger, str(gone))


@pytest.mark.parametrize("decide", [dead_letters.cancel, dead_letters.replay])
def test_a_failed_workflow_stays_until_its_dead_letter_is_decided(fake: FakeWorker, decide: Any) -> None:
    claimed = die(fake, add.s(1, 2) | echo.s())
    old(fake, claimed.workflow_id)
    pruning.prune(fake.ledger, older_than=DAY)
    assert kept(fake) == {claimed.workflow_id}
    decide(fake.ledger, str(claimed.job_id))
    fake.run(*fake.due())
    old(fake, claimed.workflow_id)
    pruned = pruning.prune(fake.ledger, older_than=DAY)
    assert (pruned.workflows, pruned.jobs, pruned.dead_letters) == (1, 2, 1)
    assert rows(fake, JobRow, AttemptRow, DeadLetterRow, ActionRow) == [0, 0, 0, 0]


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SCHEDULED])
def test_a_workflow_with_a_branch_that_still_moves_stays(fake: FakeWorker, status: JobStatus) -> None:
    branch = echo.s(1).set(countdown=60) if status is JobStatus.SCHEDULED else echo.s(1)
    started = fake.start(group(add.s(1, 2), branch) | total.s())
    failing, *others = started.dispatches
    fake.fail(fake.take(failing))
    dead_letters.cancel(fake.ledger, str(failing.job_id))
    if status is JobStatus.RUNNING:
        fake.take(others[0])
    old(fake, started.workflow_id)
    assert status in {job.status for job in fake.jobs(started.workflow_id)}
    assert pruning.prune(fake.ledger, older_than=DAY).workflows == 0


def test_only_those_of_a_status_or_a_tenant(fake: FakeWorker) -> None:
    of_acme, of_other = done(fake), done(fake, tenant="other")
    cancelled = fake.start(echo.s(1)).workflow_id
    workflows.cancel(fake.ledger, str(cancelled))
    old(fake, cancelled)
    pruning.prune(fake.ledger, older_than=DAY, status=WorkflowStatus.SUCCEEDED, tenant="other")
    assert kept(fake) == {of_acme, cancelled}
    pruning.prune(fake.ledger, older_than=DAY, status=WorkflowStatus.CANCELLED)
    assert kept(fake) == {of_acme}
    assert of_other not in kept(fake)


def test_a_key_is_free_again(fake: FakeWorker) -> None:
    done(fake, key="digest")
    assert not fake.start(echo.s(1), key="digest").is_new
    pruning.prune(fake.ledger, older_than=DAY)
    assert fake.start(echo.s(1), key="digest").is_new


def test_a_limit_leaves_the_rest_for_the_next_time(fake: FakeWorker) -> None:
    oldest, middle, newest = (done(fake) for _ in range(3))
    runs = [pruning.prune(fake.ledger, older_than=DAY, limit=2, dry_run=dry) for dry in (True, False)]
    assert [(pruned.workflows, pruned.is_complete) for pruned in runs] == [(2, False), (2, False)]
    assert kept(fake) == {newest}
    assert {oldest, middle} & kept(fake) == set()
    assert pruning.prune(fake.ledger, older_than=DAY, limit=1).is_complete


def test_prune_deletes_in_bounded_batches(fake: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_pruning, "PAGE", 2)
    monkeypatch.setattr(ledger_pruning, "_NEXT", ledger_pruning._NEXT.limit(2))
    monkeypatch.setattr(pruning, "_MOST_JOBS", 3)
    parts = []
    delete = ledger_pruning.delete_workflows

    def noted(connection: Any, ids: list[uuid.UUID], **values: Any) -> set[uuid.UUID]:
        parts.append(len(ids))
        return delete(connection, ids, **values)

    monkeypatch.setattr(ledger_pruning, "delete_workflows", noted)
    for size in (1, 1, 1, 4, 1):
        done(fake, group([echo.s(number) for number in range(size)]) if size > 1 else echo.s(1))
    assert pruning.prune(fake.ledger, older_than=DAY).workflows == 5
    assert parts == [3, 1, 1]
    assert rows(fake, WorkflowRow, JobRow) == [0, 0]


def test_prune_keeps_workflows_that_were_revived_in_between(fake: FakeWorker) -> None:
    """The second look is the one that counts, under a lock."""
    started = fake.start(echo.s(1))
    fake.run(*started.dispatches)
    workflow_id = started.workflow_id
    gone = fake.ledger.write(lambda tx: ledger_pruning.delete_workflows(tx, [workflow_id], older_than=DAY))
    assert gone == set()
    assert kept(fake) == {workflow_id}


def test_closed_letters_of_messages_go_and_open_ones_stay(fake: FakeWorker) -> None:
    closed, recent, still_open = (refuse_message(fake, f"task-{number}") for number in range(3))
    for letter in (closed, recent):
        dead_letters.cancel(fake.ledger, letter)
    long_ago = {"closed_at": seconds_from_now(-2 * DAY), "created_at": seconds_from_now(-2 * DAY)}
    of_closed = DeadLetterRow.id == uuid.UUID(closed)
    fake.ledger.write(lambda tx: tx.connection.execute(update(DeadLetterRow).where(of_closed).values(long_ago)))
    assert pruning.prune(fake.ledger, older_than=DAY, status=WorkflowStatus.FAILED).dead_letters == 0
    assert pruning.prune(fake.ledger, older_than=DAY, dry_run=True).dead_letters == 1
    assert pruning.prune(fake.ledger, older_than=DAY).dead_letters == 1
    left = fake.ledger.read(lambda c: c.scalars(select(DeadLetterRow.id)).all())
    assert set(left) == {uuid.UUID(recent), uuid.UUID(still_open)}


@pytest.mark.parametrize("older_than", [-1.0, math.nan, math.inf])
def test_an_age_that_is_none_is_refused(fake: FakeWorker, older_than: float) -> None:
    with pytest.raises(InvalidArguments, match="must be seconds, from 0 to"):
        pruning.prune(fake.ledger, older_than=older_than)


def test_prune_refuses_a_status_that_is_not_final(fake: FakeWorker) -> None:
    with pytest.raises(InvalidArguments, match="only what has ended is pruned: cancelled, failed, succeeded"):
        pruning.prune(fake.ledger, older_than=DAY, status=WorkflowStatus.RUNNING)


def test_prune_keeps_a_fan_in_with_missing_members_until_it_is_cancelled(fake: FakeWorker) -> None:
    canvas = group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=2)
    started = fake.start(canvas, key="once")
    claimed = [fake.take(dispatch) for dispatch in started.dispatches]
    fake.fail(claimed[0])
    fake.succeed(claimed[1], 7)
    old(fake, started.workflow_id)
    for job_id in (fake.job(claimed[0].job_id).join_id, claimed[0].job_id):
        assert pruning.prune(fake.ledger, older_than=DAY).workflows == 0
        assert not fake.start(canvas.clone(), key="once").is_new
        dead_letters.cancel(fake.ledger, str(job_id))
    assert pruning.prune(fake.ledger, older_than=DAY).workflows == 1
    assert fake.start(canvas.clone(), key="once").is_new
