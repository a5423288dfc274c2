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
from tests.support.player import Player
from tests.support.steps import add, echo, total

DAY = 86_400.0


def old(player: Player, workflow_id: uuid.UUID, seconds: float = 2 * DAY) -> uuid.UUID:
    """Let a workflow have begun and ended so long ago."""
    moment = seconds_from_now(-seconds)
    workflow = update(WorkflowRow).where(WorkflowRow.id == workflow_id).values(finished_at=moment)
    jobs = update(JobRow).where(JobRow.workflow_id == workflow_id, JobRow.started_at.is_not(None))
    for aged in (workflow, jobs.values(started_at=moment)):
        player.ledger.write(lambda tx, aged=aged: tx.connection.execute(aged))
    return workflow_id


def done(player: Player, canvas: Any = None, **start: Any) -> uuid.UUID:
    """A workflow that succeeded two days ago."""
    started = player.start(canvas or echo.s(1), **start)
    player.run(*started.bells)
    return old(player, started.workflow_id)


def kept(player: Player) -> set[uuid.UUID]:
    """The workflows that are there."""
    return set(player.ledger.read(lambda c: c.scalars(select(WorkflowRow.id)).all()))


def rows(player: Player, *tables: type[Base]) -> list[int]:
    """How many rows these tables have."""
    return player.ledger.read(
        lambda c: [c.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
    )


def test_a_dry_run_tells_what_would_go_and_deletes_nothing(player: Player) -> None:
    done(player, group(add.s(1, 2), add.s(3, 4)) | total.s())
    told = pruning.prune(player.ledger, older_than=DAY, dry_run=True)
    assert (told.workflows, told.dead_letters, told.is_dry_run, told.is_complete) == (1, 0, True, True)
    before = rows(player, WorkflowRow, JobRow, AttemptRow)
    pruned = pruning.prune(player.ledger, older_than=DAY)
    assert pruned == told.model_copy(update={"is_dry_run": False})
    assert before[1] == pruned.jobs
    assert rows(player, WorkflowRow, JobRow, AttemptRow) == [0, 0, 0]


def test_what_ended_later_or_runs_stays(player: Player) -> None:
    gone = done(player)
    recent = old(player, done(player), DAY / 2)
    running = player.start(echo.s(1)).workflow_id
    pruning.prune(player.ledger, older_than=DAY)
    assert kept(player) == {recent, running}
    with pytest.raises(NotFound):
        workflows.get(player.ledger, str(gone))


@pytest.mark.parametrize("decide", [dead_letters.cancel, dead_letters.replay])
def test_a_failed_workflow_stays_until_its_dead_letter_is_decided(player: Player, decide: Any) -> None:
    held = die(player, add.s(1, 2) | echo.s())
    old(player, held.workflow_id)
    pruning.prune(player.ledger, older_than=DAY)
    assert kept(player) == {held.workflow_id}
    decide(player.ledger, str(held.job_id))
    player.run(*player.due())
    old(player, held.workflow_id)
    pruned = pruning.prune(player.ledger, older_than=DAY)
    assert (pruned.workflows, pruned.jobs, pruned.dead_letters) == (1, 2, 1)
    assert rows(player, JobRow, AttemptRow, DeadLetterRow, ActionRow) == [0, 0, 0, 0]


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SCHEDULED])
def test_a_workflow_with_a_branch_that_still_moves_stays(player: Player, status: JobStatus) -> None:
    branch = echo.s(1).set(countdown=60) if status is JobStatus.SCHEDULED else echo.s(1)
    started = player.start(group(add.s(1, 2), branch) | total.s())
    failing, *others = started.bells
    player.fail(player.take(failing))
    dead_letters.cancel(player.ledger, str(failing.job_id))
    if status is JobStatus.RUNNING:
        player.take(others[0])
    old(player, started.workflow_id)
    assert status in {job.status for job in player.jobs(started.workflow_id)}
    assert pruning.prune(player.ledger, older_than=DAY).workflows == 0


def test_only_those_of_a_status_or_a_tenant(player: Player) -> None:
    of_acme, of_other = done(player), done(player, tenant="other")
    cancelled = player.start(echo.s(1)).workflow_id
    workflows.cancel(player.ledger, str(cancelled))
    old(player, cancelled)
    pruning.prune(player.ledger, older_than=DAY, status=WorkflowStatus.SUCCEEDED, tenant="other")
    assert kept(player) == {of_acme, cancelled}
    pruning.prune(player.ledger, older_than=DAY, status=WorkflowStatus.CANCELLED)
    assert kept(player) == {of_acme}
    assert of_other not in kept(player)


def test_a_key_is_free_again(player: Player) -> None:
    done(player, key="digest")
    assert not player.start(echo.s(1), key="digest").is_new
    pruning.prune(player.ledger, older_than=DAY)
    assert player.start(echo.s(1), key="digest").is_new


def test_a_limit_leaves_the_rest_for_the_next_time(player: Player) -> None:
    oldest, middle, newest = (done(player) for _ in range(3))
    told = [pruning.prune(player.ledger, older_than=DAY, limit=2, dry_run=dry) for dry in (True, False)]
    assert [(pruned.workflows, pruned.is_complete) for pruned in told] == [(2, False), (2, False)]
    assert kept(player) == {newest}
    assert {oldest, middle} & kept(player) == set()
    assert pruning.prune(player.ledger, older_than=DAY, limit=1).is_complete


def test_it_goes_in_bounded_parts(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_pruning, "LOOKED_AT", 2)
    monkeypatch.setattr(ledger_pruning, "_NEXT", ledger_pruning._NEXT.limit(2))
    monkeypatch.setattr(pruning, "_MOST_JOBS", 3)
    parts = []
    delete = ledger_pruning.delete_workflows

    def noted(connection: Any, ids: list[uuid.UUID], **values: Any) -> set[uuid.UUID]:
        parts.append(len(ids))
        return delete(connection, ids, **values)

    monkeypatch.setattr(ledger_pruning, "delete_workflows", noted)
    for size in (1, 1, 1, 4, 1):
        done(player, group([echo.s(number) for number in range(size)]) if size > 1 else echo.s(1))
    assert pruning.prune(player.ledger, older_than=DAY).workflows == 5
    assert parts == [3, 1, 1]
    assert rows(player, WorkflowRow, JobRow) == [0, 0]


def test_what_is_not_over_when_it_is_to_be_deleted_stays(player: Player) -> None:
    """The second look is the one that counts, under a lock."""
    started = player.start(echo.s(1))
    player.run(*started.bells)
    workflow_id = started.workflow_id
    gone = player.ledger.write(lambda tx: ledger_pruning.delete_workflows(tx, [workflow_id], older_than=DAY))
    assert gone == set()
    assert kept(player) == {workflow_id}


def test_closed_letters_of_messages_go_and_open_ones_stay(player: Player) -> None:
    closed, recent, still_open = (refuse_message(player, f"task-{number}") for number in range(3))
    for letter in (closed, recent):
        dead_letters.cancel(player.ledger, letter)
    long_ago = {"closed_at": seconds_from_now(-2 * DAY), "created_at": seconds_from_now(-2 * DAY)}
    of_closed = DeadLetterRow.id == uuid.UUID(closed)
    player.ledger.write(lambda tx: tx.connection.execute(update(DeadLetterRow).where(of_closed).values(long_ago)))
    assert pruning.prune(player.ledger, older_than=DAY, status=WorkflowStatus.FAILED).dead_letters == 0
    assert pruning.prune(player.ledger, older_than=DAY, dry_run=True).dead_letters == 1
    assert pruning.prune(player.ledger, older_than=DAY).dead_letters == 1
    left = player.ledger.read(lambda c: c.scalars(select(DeadLetterRow.id)).all())
    assert set(left) == {uuid.UUID(recent), uuid.UUID(still_open)}


@pytest.mark.parametrize("older_than", [-1.0, math.nan, math.inf])
def test_an_age_that_is_none_is_refused(player: Player, older_than: float) -> None:
    with pytest.raises(InvalidArguments, match="must be seconds, from 0 to"):
        pruning.prune(player.ledger, older_than=older_than)


def test_only_what_has_ended_can_be_asked_for(player: Player) -> None:
    with pytest.raises(InvalidArguments, match="only what has ended is pruned: cancelled, failed, succeeded"):
        pruning.prune(player.ledger, older_than=DAY, status=WorkflowStatus.RUNNING)


def test_a_fan_in_that_lacks_parts_is_kept_with_its_key_until_it_is_given_up(player: Player) -> None:
    canvas = group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=2)
    started = player.start(canvas, key="once")
    held = [player.take(bell) for bell in started.bells]
    player.fail(held[0])
    player.succeed(held[1], 7)
    old(player, started.workflow_id)
    for job_id in (player.job(held[0].job_id).join_id, held[0].job_id):
        assert pruning.prune(player.ledger, older_than=DAY).workflows == 0
        assert not player.start(canvas.clone(), key="once").is_new
        dead_letters.cancel(player.ledger, str(job_id))
    assert pruning.prune(player.ledger, older_than=DAY).workflows == 1
    assert player.start(canvas.clone(), key="once").is_new
