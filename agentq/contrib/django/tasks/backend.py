"""The backend of Django's tasks: enqueue is a start, a result is what the ledger has."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import Signature, signals
from django.apps import apps
from django.core import checks
from django.tasks import DEFAULT_TASK_QUEUE_NAME, Task, TaskResult
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import TASK_MAX_PRIORITY, TASK_MIN_PRIORITY
from django.tasks.signals import task_enqueued, task_finished
from django.utils import timezone
from django.utils.json import normalize_json
from django.utils.module_loading import import_string

from agentq.contrib.django import project
from agentq.contrib.django.tasks import results
from agentq.contrib.django.tasks.declare import STEP_OPTIONS, StepTask, is_task, step_of
from agentq.exceptions import ConfigurationError, nearest


class Backend(BaseTaskBackend):
    """Runs Django's tasks as workflows of one step, on the workers that run all others.

    ``OPTIONS`` are options of ``@agentq.step`` for all its tasks that do not name them: ``{"retry": "patient"}``.
    """

    task_class = StepTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        unknown = sorted(set(self.options) - set(STEP_OPTIONS))
        if unknown:
            raise ConfigurationError(
                f"TASKS[{alias!r}]['OPTIONS'] has no option {unknown[0]!r}.{nearest(unknown[0], STEP_OPTIONS)} It "
                f"knows: {', '.join(STEP_OPTIONS)}"
            )

    def validate_task(self, task: Task) -> None:
        """Refuse what cannot be run, as every backend does, and declare the task's step."""
        super().validate_task(task)
        step_of(task, self.options)

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Start a workflow of this one task; inside ``atomic()`` it is there once that commits.

        Raises TypeError for arguments that are no JSON, and what ``agentq.start`` raises.
        """
        self.validate_task(task)
        args, kwargs = normalize_json(list(args)), normalize_json(dict(kwargs))
        canvas = Signature(task.module_path, args, kwargs)
        if task.queue_name != DEFAULT_TASK_QUEUE_NAME:
            canvas.set(queue=task.queue_name)
        workflow = project.current().start(
            canvas, priority=scaled(task.priority), not_before=_not_before(task.run_after)
        )
        result = results.of_workflow(workflow.id, task)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult:
        """Return a result by its id, which is its workflow's; raises TaskResultDoesNotExist."""
        return results.of_workflow(result_id, self.alias)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Raise where the app that has the ledger is missing."""
        if apps.is_installed("agentq.contrib.django"):
            return []
        what = f"TASKS[{self.alias!r}] uses agentq, but INSTALLED_APPS has no 'agentq.contrib.django'"
        return [checks.Error(what, hint="Add it, and run manage.py migrate", id="agentq.E001")]


def scaled(priority: int) -> int:
    """Return one of Django's priorities, -100 to 100, on agentq's scale of 0 to 9, 9 first."""
    return (priority - TASK_MIN_PRIORITY) * 9 // (TASK_MAX_PRIORITY - TASK_MIN_PRIORITY)


def _not_before(run_after: datetime | None) -> datetime | None:
    if run_after is None:
        return None
    due_at = run_after if timezone.is_aware(run_after) else timezone.make_aware(run_after)
    return due_at if due_at > timezone.now() else None


def _signal_success(sender: Any, result: Any, **_: Any) -> None:
    # Other results of an attempt, such as a message that came twice, ended nothing.
    if is_task(sender.name) and result.keys() & {"attempt", "cancelled"}:
        _signal_finished(sender)


def _signal_failure(sender: Any, **_: Any) -> None:
    if is_task(sender.name):
        _signal_finished(sender)


def _signal_finished(task: Any) -> None:
    """Send Django's signal once the outcome is in the ledger, where the attempt was the last one."""
    declared = import_string(task.name)
    result = results.of_job(task.request.id, declared)
    if result.is_finished:
        task_finished.send(type(declared.get_backend()), task_result=result)


signals.task_success.connect(_signal_success, weak=False)
signals.task_failure.connect(_signal_failure, weak=False)
