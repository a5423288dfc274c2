"""``TaskResult`` of Django's tasks, read from the ledger: each attempt, error and worker is there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.base import TaskError
from django.tasks.exceptions import TaskResultDoesNotExist
from django.utils.module_loading import import_string

from agentq.contrib.django import project
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import tasks
from agentq.ledger.queries.tasks import FoundTask
from agentq.states import JOB_AHEAD, JobStatus

_STATUS = {
    **dict.fromkeys(JOB_AHEAD, TaskResultStatus.READY),
    JobStatus.RUNNING: TaskResultStatus.RUNNING,
    JobStatus.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    JobStatus.FAILED: TaskResultStatus.FAILED,
    JobStatus.CANCELLED: TaskResultStatus.FAILED,
}
_CANCELLED = "agentq.exceptions.WorkflowCancelled"


def of_workflow(workflow_id: str, task: Task | str) -> TaskResult:
    """Return the result whose id is a workflow's; raises TaskResultDoesNotExist where it is no task's.

    *task* is the task, or the alias of the backend that it is to have.
    """
    return _read(tasks.of_workflow, workflow_id, task)


def of_job(job_id: str, task: Task | str) -> TaskResult:
    """Return the result of the task that is this job; otherwise as ``of_workflow``."""
    return _read(tasks.of_job, job_id, task)


def _read(find: Callable[[Any, uuid.UUID], FoundTask | None], text: str, task: Task | str) -> TaskResult:
    try:
        wanted = uuid.UUID(text)
    except ValueError:
        raise TaskResultDoesNotExist(text) from None
    found = project.current().ledger.read(lambda connection: find(connection, wanted))
    if found is None:
        raise TaskResultDoesNotExist(text)
    job, attempts = found
    return _result(_task(job.step, task) if isinstance(task, str) else task, job, attempts)


def _task(path: str, backend: str) -> Task:
    try:
        task = import_string(path)
    except ImportError as error:
        raise TaskResultDoesNotExist(f"of {path!r}, which cannot be imported") from error
    if not isinstance(task, Task):
        raise TaskResultDoesNotExist(f"of {path!r}, which is no task")
    return task if task.backend == backend else task.using(backend=backend)


def _result(task: Task, job: AnyRow, attempts: Sequence[AnyRow]) -> TaskResult:
    args, kwargs = json.loads(job.arguments)
    tries = [(row.worker_id, row.started_at) for row in attempts]
    if job.status == JobStatus.RUNNING:
        tries.append((job.worker_id, job.started_at))
    result = TaskResult(
        task=task,
        id=str(job.workflow_id),
        status=_STATUS[JobStatus(job.status)],
        enqueued_at=job.enqueued_at,
        started_at=tries[0][1] if tries else None,
        last_attempted_at=tries[-1][1] if tries else None,
        finished_at=job.finished_at,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=_errors(job, attempts),
        worker_ids=[str(worker_id) for worker_id, _ in tries],
    )
    if job.status == JobStatus.SUCCEEDED:
        object.__setattr__(result, "_return_value", json.loads(job.result))
    return result


def _errors(job: AnyRow, attempts: Sequence[AnyRow]) -> list[TaskError]:
    errors = [_error(row) for row in attempts if row.error_class]
    if job.status == JobStatus.CANCELLED:
        errors.append(TaskError(exception_class_path=_CANCELLED, traceback=job.reason or ""))
    return errors


def _error(attempt: AnyRow) -> TaskError:
    name = attempt.error_class
    return TaskError(
        exception_class_path=name if "." in name else f"builtins.{name}",
        traceback=f"{attempt.error_traceback or ''}{name}: {attempt.error_message}\n",
    )
