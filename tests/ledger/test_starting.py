"""Starts on every ledger: everything or nothing, and once for each key."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from celery import group
from sqlalchemy import update

from agentq import each
from agentq.exceptions import KeyConflict
from agentq.ledger import starts
from agentq.ledger.models import WorkflowRow
from agentq.ledger.queries import workflows
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus, WorkflowStatus
from tests.support.player import Player, Started, graph_of
from tests.support.steps import add, echo, numbers, total


def test_a_start_writes_all_jobs_and_rings_for_the_first(player: Player) -> None:
    started = player.start(group(add.s(1, 2), add.s(3, 4)) | total.s())
    assert started.is_new
    assert player.workflow(started.workflow_id).status == WorkflowStatus.RUNNING
    jobs = player.jobs(started.workflow_id)
    assert sorted((job.kind, job.status, job.remaining) for job in jobs) == [
        ("join", JobStatus.WAITING, 2),
        ("step", JobStatus.QUEUED, 0),
        ("step", JobStatus.QUEUED, 0),
        ("step", JobStatus.WAITING, 1),
    ]
    assert {bell.job_id for bell in started.bells} == {job.id for job in jobs if job.status == JobStatus.QUEUED}


def test_a_bell_of_a_start_says_what_the_row_says(player: Player) -> None:
    started = player.start(add.s(1, 2).set(queue="io", priority=7, soft_time_limit=3.5))
    (bell,), (job,) = started.bells, player.jobs(started.workflow_id)
    assert (bell.job_id, bell.workflow_id, bell.step) == (job.id, started.workflow_id, add.name)
    assert (bell.queue, bell.priority, bell.timeout, bell.tenant) == ("io", 7, 3.5, "acme")
    assert (job.queue, job.priority, job.timeout, job.tenant) == ("io", 7, 3.5, "acme")
    assert abs((bell.rung_at - job.dispatched_at).total_seconds()) < 1


def test_a_start_that_is_rolled_back_leaves_nothing(player: Player) -> None:
    with player.ledger.engine.connect() as connection:
        with connection.begin() as transaction:
            started = starts.start(Transaction(connection), graph_of(add.s(1, 2)), tenant="acme", key="k")
            transaction.rollback()
        with connection.begin():
            assert workflows.get(connection, started.workflow_id) is None
    assert player.start(add.s(5, 5), key="k").is_new


def test_the_same_start_with_the_same_key_is_one_workflow(player: Player) -> None:
    canvas = numbers.s(3) | total.s()
    first = player.start(canvas, key="digest")
    again = player.start(numbers.s(3) | total.s(), key="digest")
    assert again == Started(first.workflow_id, is_new=False)
    assert len(player.jobs(first.workflow_id)) == 2
    player.run(*first.bells)
    assert player.start(canvas, key="digest").workflow_id == first.workflow_id
    assert player.result(first.workflow_id) == 3


def test_a_key_belongs_to_its_tenant(player: Player) -> None:
    ids = {player.start(add.s(1, 2), tenant=tenant, key="k").workflow_id for tenant in ("acme", "globex")}
    assert len(ids) == 2


def test_starts_without_a_key_are_many_workflows(player: Player) -> None:
    assert len({player.start(add.s(1, 2)).workflow_id for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "other",
    [add.s(1, 3), echo.s(1, 2), add.s(1, 2) | echo.s()],
    ids=["argument", "step", "shape"],
)
def test_a_key_is_not_reused_for_something_else(player: Player, other: object) -> None:
    first = player.start(add.s(1, 2), key="k")
    with pytest.raises(KeyConflict) as conflict:
        player.start(other, key="k")
    assert conflict.value.workflow_id == str(first.workflow_id)
    assert "'k'" in str(conflict.value)
    assert "'acme'" in str(conflict.value)
    assert len(player.jobs(first.workflow_id)) == 1


def test_a_key_of_another_release_names_the_same_work(player: Player) -> None:
    canvas = numbers.s(2) | each(add.s(1) | group(echo.s(), echo.s())) | echo.s()
    first = player.start(canvas, key="k")
    player.run(*first.bells)
    player.ledger.write(
        lambda tx: tx.connection.execute(update(WorkflowRow).values(fingerprint="of another release"))
    )
    assert player.start(canvas.clone(), key="k").workflow_id == first.workflow_id
    with pytest.raises(KeyConflict, match=r"argument 'count' of step .* is 2 there and 3 here"):
        player.start(numbers.s(3) | each(add.s(1) | group(echo.s(), echo.s())) | echo.s(), key="k")


def test_a_start_under_ids_of_ones_own_is_the_same_start_when_repeated(player: Player) -> None:
    ids: dict[str, Any] = {"workflow_id": uuid.uuid4(), "job_id": uuid.uuid4()}
    first, again = (player.start(add.s(1, 2), **ids) for _ in range(2))
    assert (first.is_new, again.is_new) == (True, False)
    assert [job.id for job in player.jobs(ids["workflow_id"])] == [ids["job_id"]]
    assert [bell.job_id for bell in first.bells] == [ids["job_id"]]


def test_a_delayed_first_job_waits_for_its_time(player: Player) -> None:
    started = player.start(add.s(1, 2).set(countdown=3600) | echo.s())
    first = player.jobs(started.workflow_id)[0]
    assert started.bells == ()
    assert first.status == JobStatus.SCHEDULED
    assert 3590 < (first.due_at - first.created_at).total_seconds() < 3610


def test_a_canvas_with_an_empty_fan_in_starts_what_follows_it(player: Player) -> None:
    started = player.start(group([]) | echo.s())
    player.run(*started.bells)
    assert player.result(started.workflow_id) == {"args": [[]], "kwargs": {}}
