"""The ledger's rows for Django's admin: unmanaged, without the columns that may hold secrets.

Arguments and results are read through ``record``, which masks them as every surface of agentq does.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.db import models

from agentq.contrib.django import project
from agentq.operations import dead_letters, jobs, limits, schemas, workflows
from agentq.states import DeadLetterKind, DeadLetterStatus, JobKind, JobStatus, WorkflowStatus


def _one_of(values: type[StrEnum]) -> models.CharField[str, str]:
    return models.CharField(max_length=16, choices=[(value.value, value.value) for value in values])


def _text() -> models.CharField[str | None, str | None]:
    return models.CharField(max_length=255, null=True)


class _LedgerManager(models.Manager[Any]):
    """Reads from the database that the ledger lives in."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().using(project.current().options.database)


class _LedgerRow(models.Model):
    id = models.UUIDField(primary_key=True)
    tenant = models.CharField(max_length=255)
    created_at = models.DateTimeField()

    objects = _LedgerManager()

    class Meta:
        abstract = True
        managed = False
        default_permissions = ("view",)
        ordering = ("-id",)

    def __str__(self) -> str:
        return str(self.pk)


class Workflow(_LedgerRow):
    """One started canvas."""

    name = models.CharField(max_length=255)
    status = _one_of(WorkflowStatus)
    key = _text()
    reason = models.TextField(null=True)
    failed_job = models.ForeignKey("Job", models.DO_NOTHING, related_name="+", null=True, db_constraint=False)
    finished_at = models.DateTimeField(null=True)

    class Meta(_LedgerRow.Meta):
        db_table = "agentq_workflows"
        permissions = [("cancel_workflow", "Can cancel workflow")]

    @cached_property
    def record(self) -> schemas.WorkflowDetails:
        """Everything about it, with its jobs."""
        return workflows.get(project.current().ledger, str(self.pk))


class Job(_LedgerRow):
    """One step to be done in one workflow."""

    workflow = models.ForeignKey(Workflow, models.DO_NOTHING, related_name="jobs", db_constraint=False)
    kind = _one_of(JobKind)
    step = models.CharField(max_length=255)
    status = _one_of(JobStatus)
    queue = models.CharField(max_length=255)
    attempt = models.IntegerField()
    max_attempts = models.IntegerField()
    attempts_before = models.IntegerField()
    uncounted = models.IntegerField()
    error_category = _text()
    error_class = _text()
    error_message = models.TextField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(_LedgerRow.Meta):
        db_table = "agentq_jobs"
        permissions = [("cancel_job", "Can cancel job")]

    @cached_property
    def record(self) -> schemas.Job:
        """Everything about it, with its attempts."""
        return jobs.get(project.current().ledger, str(self.pk))


class DeadLetter(_LedgerRow):
    """The record of a job that is exhausted or must not be retried, or of a message that no worker can take."""

    kind = _one_of(DeadLetterKind)
    status = _one_of(DeadLetterStatus)
    job = models.ForeignKey(Job, models.DO_NOTHING, related_name="dead_letters", null=True, db_constraint=False)
    workflow = models.ForeignKey(
        Workflow, models.DO_NOTHING, related_name="dead_letters", null=True, db_constraint=False
    )
    step = models.CharField(max_length=255)
    attempts = models.IntegerField("last attempt")
    error_category = _text()
    error_class = _text()
    error_message = models.TextField(null=True)
    owner = _text()
    note = models.TextField(null=True)
    closed_at = models.DateTimeField(null=True)

    class Meta(_LedgerRow.Meta):
        db_table = "agentq_dead_letters"
        verbose_name = "dead letter"
        permissions = [
            ("replay_deadletter", "Can replay dead letter"),
            ("cancel_deadletter", "Can cancel dead letter"),
        ]

    @cached_property
    def record(self) -> schemas.DeadLetter:
        """Everything about it, with what was done about it."""
        return dead_letters.get(project.current().ledger, str(self.pk))


class Limit(models.Model):
    """A limit of jobs, with its key."""

    name = models.CharField(max_length=255, primary_key=True)
    used = models.IntegerField()
    is_awaited = models.BooleanField()

    objects = _LedgerManager()

    class Meta:
        managed = False
        db_table = "agentq_limits"
        default_permissions = ("view",)
        ordering = ("-is_awaited", "name")
        permissions = [("pause_limit", "Can pause limit")]

    def __str__(self) -> str:
        return str(self.pk)

    @cached_property
    def summary(self) -> Any:
        """Its meters, and who holds and awaits it; a list sets the ones of all its rows."""
        return limits.get(project.current().ledger, str(self.pk))

    @property
    def status(self) -> str:
        """Its state in words: open, paused by an operator, cooling, or opening by degrees."""
        override, cooldown = self.summary.override, self.summary.cooldown
        if self.summary.slots == 0 and override is not None:
            return f"paused by {override.actor}{_until(override.until)}: {override.reason}"
        if cooldown is None:
            return "open"
        if cooldown.seconds:
            return f"cools{_until(cooldown.until)} ({cooldown.reason})"
        return f"opens by degrees: {self.summary.at_once} at once"


def _until(time: datetime | None) -> str:
    return "" if time is None else f" until {time:%Y-%m-%d %H:%M:%S} UTC"
