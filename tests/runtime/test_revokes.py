"""Celery's own revoke, as Flower's button sends it: the job is cancelled, not stuck behind Celery's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery, group
from celery.result import AsyncResult

from agentq import Workflow
from agentq.exceptions import WorkflowCancelled
from agentq.states import JobStatus
from tests.runtime.revoking_steps import fails_behind
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Gates, Worker, client, eventually, redis_server
from tests.support.steps import add, echo, meet, total


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("revokes")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, concurrency=1, arguments=("-I", "tests.runtime.revoking_steps")) as running,
    ):
        yield running


def test_a_job_that_is_revoked_before_it_runs_is_cancelled(at: Stack, gates: Gates) -> None:
    busy = at.agentq.start(meet.s(1, str(gates.folder), "busy"))
    gates.await_reached("busy")
    waiting = at.agentq.start(add.s(1, 2) | echo.s())
    at.agentq.app.control.revoke(str(waiting.jobs()[0].id), reply=True, limit=1, timeout=10)
    gates.open("busy")
    assert busy.result(20) == 1
    with pytest.raises(WorkflowCancelled, match="it was revoked"):
        waiting.result(20)


def test_a_step_that_is_terminated_does_not_run_again(at: Stack, gates: Gates) -> None:
    workflow = at.agentq.start(meet.s(1, str(gates.folder), "held"))
    gates.await_reached("held")
    at.agentq.app.control.revoke(str(workflow.jobs()[0].id), terminate=True, signal="SIGKILL", reply=True, limit=1)
    with pytest.raises(WorkflowCancelled, match="it was revoked"):
        workflow.result(20)
    assert at.agentq.start(add.s(1, 2)).result(20) == 3
    assert gates.reached("held") == 1


def test_a_fan_in_goes_on_without_a_revoked_member(at: Stack, gates: Gates) -> None:
    canvas = group(meet.s(1, str(gates.folder), "part"), add.s(1, 2)) | total.s().set(needs="any")
    workflow = at.agentq.start(canvas)
    gates.await_reached("part")
    at.agentq.app.control.revoke(str(workflow.jobs()[0].id), terminate=True, signal="SIGKILL", reply=True, limit=1)
    assert workflow.result(20) == 3
    eventually(lambda: workflow.ready(), 10, what="an end")


def test_a_revoke_without_terminate_lets_the_attempt_end_and_makes_no_other(at: Stack, gates: Gates) -> None:
    """As in Celery: a step that runs is not stopped."""
    kept = at.agentq.start(meet.s(1, str(gates.folder), "kept"))
    gates.await_reached("kept")
    at.agentq.app.control.revoke(job_of(kept))
    gates.open("kept")
    assert kept.result(20) == 1

    failing = at.agentq.start(fails_behind.s(str(gates.folder), "failing"))
    gates.await_reached("failing")
    at.agentq.app.control.revoke(job_of(failing))
    gates.open("failing")
    with pytest.raises(WorkflowCancelled):
        failing.result(20)
    assert gates.reached("failing") == 1


def test_ids_that_are_no_jobs_go_on_to_celery(at: Stack) -> None:
    (reply,) = at.agentq.app.control.revoke(
        ["no-job", "5b7c8b8e-0000-4000-8000-000000000000"], reply=True, limit=1
    )
    (said,) = reply.values()
    assert "no-job" in said["ok"]


class TestWithoutWorkers:
    """The client that revokes writes it to the ledger."""

    @pytest.fixture(autouse=True)
    def _clients(self, database: str, tmp_path: Path) -> Iterator[None]:
        with (
            redis_server() as self.broker,
            migrated_ledger(database, tmp_path) as self.url,
            client(self.broker, self.url) as self.agentq,
        ):
            yield

    def cancelled(self, *workflows: Workflow[int]) -> bool:
        return all(workflow.state == "REVOKED" for workflow in workflows)

    def test_jobs_that_wait_are_cancelled_at_once(self) -> None:
        queued = self.agentq.start(add.s(1, 2))
        scheduled = add.apply_async((1, 2), countdown=60)
        waiting = self.agentq.start(add.s(1, 2) | add.s(3))
        self.agentq.app.control.revoke(job_of(queued))
        self.agentq.app.control.terminate([job_of(scheduled)])
        self.agentq.app.control.revoke(str(waiting.jobs()[1].id))
        assert self.cancelled(queued, scheduled, waiting)
        with pytest.raises(WorkflowCancelled, match="it was revoked"):
            queued.result(0)

    def test_many_ids_some_of_them_no_jobs(self) -> None:
        workflows = self.agentq.start_many([add.s(n, n) for n in range(3)])
        self.agentq.app.control.revoke([*map(job_of, workflows), "no-job"])
        assert self.cancelled(*workflows)

    def test_the_id_of_a_workflow_and_celerys_ways_to_name_it(self) -> None:
        by_id, by_result, by_handle, by_command = self.agentq.start_many([add.s(n, n) for n in range(4)])
        self.agentq.app.control.revoke(by_id.id)
        AsyncResult(job_of(by_result), app=self.agentq.app).revoke()
        by_handle.revoke(terminate=True)
        self.agentq.app.control.broadcast("revoke", arguments={"task_id": [job_of(by_command)]})
        assert self.cancelled(by_id, by_result, by_handle, by_command)

    def test_a_job_that_had_ended_stays_as_it_was(self) -> None:
        with Worker(self.broker, self.url):
            done = self.agentq.start(add.s(1, 2))
            assert done.result(20) == 3
        self.agentq.app.control.revoke([job_of(done), done.id], terminate=True)
        assert done.result(0) == 3

    def test_a_worker_that_comes_later_runs_none_of_it(self) -> None:
        scheduled = add.apply_async((1, 2), countdown=2)
        self.agentq.app.control.revoke(job_of(scheduled))
        with Worker(self.broker, self.url):
            assert self.agentq.start(add.s(1, 2)).result(20) == 3
            with pytest.raises(WorkflowCancelled):
                scheduled.result(20)
        (job,) = scheduled.jobs()
        assert (job.status, job.attempt) == (JobStatus.CANCELLED, 0)


def test_a_revoke_that_only_the_workers_hear_is_kept_by_the_ledger(at: Stack) -> None:
    """As of a monitor that does not know the ledger: Celery's own control, of an app without agentq."""
    scheduled = add.apply_async((1, 2), countdown=300)
    waiting = at.agentq.start(add.s(1, 2).set(countdown=300) | add.s(3))
    stranger = Celery("monitor", broker=at.broker.url)
    stranger.control.revoke([job_of(scheduled), str(waiting.jobs()[1].id)])
    eventually(lambda: scheduled.state == waiting.state == "REVOKED", 10, what="both cancelled")


def job_of(workflow: Workflow[int]) -> str:
    return str(workflow.jobs()[0].id)
