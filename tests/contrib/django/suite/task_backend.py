"""The rows that ``enqueue`` writes; run with the settings of tests.contrib.django.task_settings."""

from __future__ import annotations

from datetime import timedelta
from unittest import skipIf

import django
import pytest
from django.tasks import TaskResultStatus, default_task_backend, task, task_backends
from django.tasks.exceptions import TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.test import TestCase, override_settings
from django.utils import timezone
from django.utils.module_loading import import_string

import agentq
from agentq.contrib.django.tasks.backend import scaled
from agentq.exceptions import ConfigurationError, StepDefinitionError
from agentq.operations.schemas import Job
from agentq.policies import PATIENT
from agentq.steps import registry
from tests.contrib.django.letters.tasks import add, report, send, wait
from tests.contrib.django.suite.canvases import dispatches, double, rolled_back, started

from_6_1 = skipIf(django.VERSION < (6, 1), "@task(…) takes further options from Django 6.1 on")
OURS = "agentq.contrib.django.tasks.Backend"


class EnqueueTest(TestCase):
    """A task is a workflow of one step in the project's own transaction."""

    def test_a_task_is_a_workflow_of_one_step(self) -> None:
        result = add.enqueue(1, second=2)
        job = only_job(result.id)
        assert job.step == "tests.contrib.django.letters.tasks.add"
        assert (job.args, job.kwargs) == ([1], {"second": 2})
        assert (result.args, result.kwargs) == ([1], {"second": 2})
        assert result == add.get_result(result.id)

    def test_a_rollback_takes_the_task_with_it(self) -> None:
        with rolled_back():
            result = add.enqueue(1, 1)
            result.refresh()
        assert started() == 0
        with pytest.raises(TaskResultDoesNotExist):
            result.refresh()

    def test_the_message_is_published_after_the_commit(self) -> None:
        with dispatches() as dispatched, self.captureOnCommitCallbacks(execute=True):
            add.enqueue(1, 1)
            assert dispatched == []
        assert len(dispatched) == 1

    def test_queue_and_priority_are_the_tasks(self) -> None:
        job = only_job(send.enqueue("ann").id)
        assert (job.queue, job.priority) == ("post", scaled(50))
        job = only_job(send.using(queue_name="other", priority=-100).enqueue("ann").id)
        assert (job.queue, job.priority) == ("other", 0)
        assert only_job(add.enqueue(1, 1).id).queue == "celery"

    def test_priorities_keep_their_order_on_agentqs_scale(self) -> None:
        scale = [scaled(priority) for priority in range(-100, 101)]
        assert scale == sorted(scale)
        assert (scale[0], scale[100], scale[200], len(set(scale))) == (0, 4, 9, 10)

    def test_run_after_is_kept_in_the_ledger(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        result = add.using(run_after=later).enqueue(1, 1)
        job = only_job(result.id)
        assert (result.status, job.status, job.due_at) == (TaskResultStatus.READY, "scheduled", later)
        past = add.using(run_after=timezone.now() - timedelta(hours=1)).enqueue(1, 1)
        assert only_job(past.id).status == "queued"

    def test_the_signal_has_the_result(self) -> None:
        seen = []

        def note(sender: type, task_result: object, **_: object) -> None:
            seen.append((sender, task_result))

        task_enqueued.connect(note)
        result = add.enqueue(1, 1)
        assert seen == [(type(task_backends["default"]), result)]

    def test_an_unknown_task_id_has_no_result(self) -> None:
        for workflow in (agentq.start(double.s(1)), agentq.start(double.s(1) | double.s())):
            with pytest.raises(TaskResultDoesNotExist):
                default_task_backend.get_result(workflow.id)

    def test_a_cancelled_task_has_failed(self) -> None:
        result = add.enqueue(1, 1)
        agentq.workflow(result.id).cancel("not wanted")
        result.refresh()
        assert (result.status, result.errors[0].traceback) == (TaskResultStatus.FAILED, "not wanted")
        assert result.errors[0].exception_class is agentq.exceptions.WorkflowCancelled


class OptionsTest(TestCase):
    """The options of a task or its backend for the step."""

    @from_6_1
    def test_a_task_says_it_itself(self) -> None:
        step = registry.find(send.module_path)
        assert step is not None
        assert (step.retries, step.timeout) == (2, 30)
        assert only_job(send.enqueue("ann").id).max_attempts == 3

    @from_6_1
    def test_each_option_is_the_steps(self) -> None:
        fetch = import_string("tests.contrib.django.letters.patient.fetch")
        step = registry.find(fetch.module_path)
        assert step is not None
        assert (step.timeout, step.hard_timeout, step.deadline, step.on_failure) == (60, 90, 3600, "fail")
        assert step.policy == PATIENT
        job = only_job(fetch.enqueue("https://example.org").id)
        assert (job.timeout, job.max_attempts) == (60, PATIENT.attempts)

    @from_6_1
    def test_an_invalid_option_is_an_error_at_its_declaration(self) -> None:
        with pytest.raises(StepDefinitionError, match="must be longer than timeout"):
            task(timeout=60, hard_timeout=30)(wait.func)

    @override_settings(TASKS={"default": {"BACKEND": OURS, "OPTIONS": {"retries": 7}}})
    def test_a_backend_says_it_for_its_tasks(self) -> None:
        assert only_job(report.enqueue().id).max_attempts == 8

    @override_settings(TASKS={"default": {"BACKEND": OURS, "OPTIONS": {"retires": 7}}})
    def test_an_unknown_option_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match="Did you mean 'retries'"):
            task_backends["default"]


def only_job(workflow_id: str) -> Job:
    """Return the one job of a workflow."""
    (job,) = agentq.workflow(workflow_id).jobs()
    return job
