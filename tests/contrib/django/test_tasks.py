"""Django's built-in tasks on agentq: enqueued, run by a worker, and what an older Django gets to read."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from agentq.exceptions import ConfigurationError
from tests.contrib.django.project import Project
from tests.contrib.django.running import worker
from tests.support import Broker

HAS_TASKS = find_spec("django") is not None and import_module("django").VERSION >= (6, 0)
with_tasks = pytest.mark.skipif(not HAS_TASKS, reason="tasks are built into Django 6.0 and later")
SETTINGS = "tests.contrib.django.task_settings"

ASK = """
import asyncio
import agentq
from tests.contrib.django.letters.tasks import add, fail, report, send, wait

def ended(result):
    try:
        agentq.workflow(result.id).result(timeout=60)
    except agentq.exceptions.StepFailed:
        pass
    result.refresh()
    return result

assert ended(add.enqueue(1, 2)).return_value == 3
assert ended(send.enqueue("ann")).return_value == "to ann"
assert ended(asyncio.run(wait.aenqueue(0.01))).return_value == "waited"
task = ended(report.enqueue())
assert task.return_value == [task.id, 1]
assert len(task.worker_ids) == task.attempts == 1
assert task.enqueued_at <= task.started_at == task.last_attempted_at <= task.finished_at
failed = ended(fail.enqueue("it is not here"))
assert (failed.status, failed.is_finished) == ("FAILED", True)
assert failed.errors[0].exception_class is LookupError
assert failed.errors[0].traceback.endswith("LookupError: it is not here\\n")
"""


@with_tasks
def test_enqueue_writes_a_workflow_of_one_step(empty_database: str, tmp_path: Path) -> None:
    project = Project(empty_database, tmp_path, settings=SETTINGS)
    project.manage("test", "tests.contrib.django.suite.task_backend")
    project.manage("check")


@with_tasks
def test_a_worker_runs_tasks_and_sends_djangos_signals(
    empty_database: str, tmp_path: Path, redis_broker: Broker
) -> None:
    project = Project(empty_database, tmp_path, broker=redis_broker.url, settings=SETTINGS)
    project.manage("migrate", "--verbosity", "0")
    with worker(project) as log:
        project.shell(ASK)
        for line in ("letters.tasks.add state=RUNNING", "letters.tasks.add state=SUCCESSFUL"):
            assert line in log.read_text()
        assert "letters.tasks.fail state=FAILED" in log.read_text()


@pytest.mark.skipif(HAS_TASKS, reason="tasks are built into this Django")
def test_an_older_django_is_an_error(tmp_path: Path) -> None:
    project = Project("sqlite://", tmp_path, settings=SETTINGS)
    assert "TASKS names agentq's backend, but Django's built-in tasks came with" in project.run("check").stderr
    tasks = import_module("agentq.contrib.django.tasks")
    with pytest.raises(ConfigurationError, match="needs Django 6"):
        _ = tasks.Backend
