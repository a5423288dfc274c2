"""Read-only pages of workflows, jobs, dead letters and limits, with what an operator may decide about them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.text import Truncator

from agentq.contrib.django import confirm
from agentq.contrib.django.limit_admin import LimitAdmin
from agentq.contrib.django.models import DeadLetter, Job, Limit, Workflow
from agentq.contrib.django.read_only import ReadOnlyAdmin, as_json, table
from agentq.operations import dead_letters, jobs, workflows
from agentq.operations.attempt_counts import attempts_summary
from agentq.states import FAN_INS, WorkflowStatus

_ATTEMPT = ("number", "outcome", "started_at", "finished_at", "error_category", "error_message")
_ACTION = ("created_at", "action", "actor", "reason")
_JOB = ("id", "step", "status", "attempts_summary", "waiting_for", "error_message")
_COUNTS = ("attempt", "max_attempts", "attempts_before", "uncounted")
"""Columns of a job of which a page shows the sum, ``attempts``."""


admin.site.register(Limit, LimitAdmin)


@admin.register(Workflow)
class WorkflowAdmin(ReadOnlyAdmin):
    """Workflows."""

    list_display = ("id", "name", "status", "tenant", "key", "created_at", "finished_at", "error")
    list_filter = ("status",)
    list_select_related = ("failed_job",)
    search_texts = ("key",)
    actions = ("cancel",)
    exclude = ("failed_job",)
    readonly_fields = ("error", "jobs_of_it", "decisions")

    @admin.display
    def error(self, row: Workflow) -> str:
        """The error that ended it early: its first line, or the reason of a cancel."""
        failed = row.failed_job if row.status == WorkflowStatus.FAILED else None
        return _first_line(row.reason or "") if failed is None else _error(failed)

    @admin.display(description="jobs")
    def jobs_of_it(self, row: Workflow) -> str:
        """All its jobs, oldest first."""
        return table(_JOB, [job for job in row.record.jobs if job.kind not in FAN_INS], links="job")

    @admin.display(description="decisions")
    def decisions(self, row: Workflow) -> str:
        """The actions of operators."""
        return table(_ACTION, row.record.actions)

    @admin.action(description="Cancel selected workflows", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[Workflow]) -> Any:
        """Cancel workflows, after a question."""
        return confirm.decide(self, request, queryset, "cancel", workflows.cancel)


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """Jobs, without the joins, which no worker runs."""

    list_display = ("id", "step", "status", "tries", "queue", "tenant", "error_category", "created_at", "error")
    list_filter = ("status",)
    search_ids = ("pk", "workflow_id")
    actions = ("cancel",)
    exclude = _COUNTS
    readonly_fields = ("tries", "by_hand", "waits_for", "arguments", "result", "attempts")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).exclude(kind__in=sorted(FAN_INS))

    @admin.display(description="attempts")
    def tries(self, row: Job) -> str:
        """The attempts that count, of those that it may have."""
        return attempts_summary(row)

    @admin.display
    def error(self, row: Job) -> str:
        """The first line of its last error."""
        return _error(row)

    @admin.display(description="result given by hand")
    def by_hand(self, row: Job) -> str:
        """The person who gave its result, with time and reason."""
        given = row.record.by_hand
        return (
            "no"
            if given is None
            else f"by {given.actor}, {given.created_at:%Y-%m-%d %H:%M:%S} UTC: {given.reason}"
        )

    @admin.display(description="waits for")
    def waits_for(self, row: Job) -> str:
        """The condition that holds it back."""
        return row.record.waiting_for or "nothing"

    @admin.display
    def arguments(self, row: Job) -> str:
        """Its arguments, with secrets masked."""
        return as_json({"args": row.record.args, "kwargs": row.record.kwargs})

    @admin.display
    def result(self, row: Job) -> str:
        """Its result, with secrets masked."""
        return as_json(row.record.result)

    @admin.display(description="history")
    def attempts(self, row: Job) -> str:
        """Its finished attempts."""
        return table(_ATTEMPT, row.record.attempts)

    @admin.action(description="Cancel selected jobs", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[Job]) -> Any:
        """Cancel jobs, after a question."""
        return confirm.decide(self, request, queryset, "cancel", jobs.cancel)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Dead letters."""

    list_display = ("id", "step", "status", "error_category", "attempts", "owner", "tenant", "created_at", "error")
    list_filter = ("status", "kind")
    search_ids = ("pk", "job_id", "workflow_id")
    actions = ("replay", "go_on", "cancel")
    readonly_fields = ("arguments", "snapshot", "decisions")

    @admin.display
    def error(self, row: DeadLetter) -> str:
        """The first line of its error."""
        return _error(row)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return confirm.may(request, "replay", self.opts)

    @admin.display
    def arguments(self, row: DeadLetter) -> str:
        """The arguments that the job has now, with secrets masked."""
        return as_json({"args": row.record.args, "kwargs": row.record.kwargs})

    @admin.display
    def snapshot(self, row: DeadLetter) -> str:
        """The job when it died, with every attempt."""
        return as_json(row.record.snapshot)

    @admin.display(description="decisions")
    def decisions(self, row: DeadLetter) -> str:
        """The actions taken on it."""
        return table(_ACTION, row.record.actions)

    @admin.action(description="Replay selected dead letters", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: models.QuerySet[DeadLetter]) -> Any:
        """Give the jobs new attempts, after a question."""
        return confirm.decide(self, request, queryset, "replay", dead_letters.replay)

    @admin.action(description="Let fan-ins go on with the members that are there", permissions=["replay"])
    def go_on(self, request: HttpRequest, queryset: models.QuerySet[DeadLetter]) -> Any:
        """Let fan-ins with missing members go on without them, after a question."""
        return confirm.decide(self, request, queryset, "go on", dead_letters.resolve)

    @admin.action(description="Cancel selected dead letters", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: models.QuerySet[DeadLetter]) -> Any:
        """Close dead letters, after a question."""
        return confirm.decide(self, request, queryset, "cancel", dead_letters.cancel)


def _error(row: Job | DeadLetter) -> str:
    return _first_line(f"{row.error_class}: {row.error_message}") if row.error_class else ""


def _first_line(text: str) -> str:
    return Truncator(text.partition("\n")[0]).chars(100)
