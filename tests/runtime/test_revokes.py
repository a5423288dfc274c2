"""Celery's own revoke, as Flower's button sends it: the job is cancelled, not stuck behind Celery's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import group

from agentq.exceptions import WorkflowCancelled
from tests.runtime.place import Place, migrated_ledger, place
from tests.support import Gates, eventually, redis_server
from tests.support.steps import add, echo, meet, total


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("revokes")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        place(broker, url, concurrency=1) as running,
    ):
        yield running


def test_a_job_that_is_revoked_before_it_runs_is_cancelled(at: Place, gates: Gates) -> None:
    busy = at.agentq.start(meet.s(1, str(gates.folder), "busy"))
    gates.await_reached("busy")
    waiting = at.agentq.start(add.s(1, 2) | echo.s())
    at.agentq.app.control.revoke(str(waiting.jobs()[0].id), reply=True, limit=1, timeout=10)
    gates.open("busy")
    assert busy.result(20) == 1
    with pytest.raises(WorkflowCancelled, match="it was revoked"):
        waiting.result(20)


def test_a_step_that_is_terminated_does_not_run_again(at: Place, gates: Gates) -> None:
    workflow = at.agentq.start(meet.s(1, str(gates.folder), "held"))
    gates.await_reached("held")
    at.agentq.app.control.revoke(str(workflow.jobs()[0].id), terminate=True, signal="SIGKILL", reply=True, limit=1)
    with pytest.raises(WorkflowCancelled, match="it was revoked"):
        workflow.result(20)
    assert at.agentq.start(add.s(1, 2)).result(20) == 3
    assert gates.reached("held") == 1


def test_a_fan_in_goes_on_without_a_part_that_is_revoked(at: Place, gates: Gates) -> None:
    canvas = group(meet.s(1, str(gates.folder), "part"), add.s(1, 2)) | total.s().set(needs="any")
    workflow = at.agentq.start(canvas)
    gates.await_reached("part")
    at.agentq.app.control.revoke(str(workflow.jobs()[0].id), terminate=True, signal="SIGKILL", reply=True, limit=1)
    assert workflow.result(20) == 3
    eventually(lambda: workflow.ready(), 10, what="an end")
