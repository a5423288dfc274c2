"""The admin's pages of limits: what they let through, what waits, and a pause of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from agentq.contrib.django import confirm, project
from agentq.contrib.django.models import Limit
from agentq.contrib.django.read_only import ReadOnlyAdmin, table
from agentq.operations import limits

_TENANT = ("tenant", "waiting", "weight", "served")
_HOLDER = ("id", "step", "status", "started_at", "tenant")
_CHANGE = (
    "created_at",
    "actor",
    "before",
    "after",
    "rate_after",
    "tokens_after",
    "cools_until",
    "until",
    "reason",
)


class LimitAdmin(ReadOnlyAdmin):
    """Limits, those first that jobs wait for."""

    list_display = ("of", "key", "slots", "rate", "tokens", "status", "waiting")
    search_fields = ("name",)
    search_texts = ("pk",)
    search_ids = ()
    actions = ("pause", "resume")
    fields = ("name", *list_display[2:], "tenants", "holders", "changes")
    readonly_fields = fields

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list, whose rows have been read together."""
        page = super().get_changelist_instance(request)
        rows = {row.pk: row for row in page.result_list}
        for found in limits.named(project.current().ledger, list(rows)):
            rows[found.name].summary = found
        return page

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return confirm.may(request, "pause", self.opts)

    @admin.display(description="limit", ordering="name")
    def of(self, row: Limit) -> str:
        """The name that code gives it."""
        return row.name.partition(":")[0]

    @admin.display
    def key(self, row: Limit) -> str:
        """The value of its key."""
        return row.name.partition(":")[2]

    @admin.display(description="used", ordering="used")
    def slots(self, row: Limit) -> str:
        """The slots that are used, of those that it has."""
        return f"{row.summary.used} of {'any' if row.summary.slots is None else row.summary.slots}"

    @admin.display
    def rate(self, row: Limit) -> str:
        """The starts that a period may have."""
        return str(row.summary.rate or "")

    @admin.display
    def tokens(self, row: Limit) -> str:
        """The tokens that a period may have."""
        return str(row.summary.tokens or "")

    @admin.display(ordering="is_awaited")
    def waiting(self, row: Limit) -> str:
        """The jobs in its line."""
        return f"{row.summary.waiting}{'+' if row.summary.is_capped else ''}"

    @admin.display(description="line")
    def tenants(self, row: Limit) -> str:
        """The tenants whose jobs wait, the next one first."""
        return table(_TENANT, row.summary.tenants)

    @admin.display(description="jobs that hold a slot")
    def holders(self, row: Limit) -> str:
        """The jobs that hold a slot of it."""
        return table(_HOLDER, row.summary.holders, links="job")

    @admin.display
    def changes(self, row: Limit) -> str:
        """The last changes, by operators and by code."""
        return table(_CHANGE, row.summary.changes)

    @admin.action(description="Pause selected limits", permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: models.QuerySet[Limit]) -> Any:
        """Admit no more jobs of limits, after a question."""
        return confirm.decide(self, request, queryset, "pause", limits.pause)

    @admin.action(description="Resume selected limits", permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: models.QuerySet[Limit]) -> Any:
        """Let paused limits have their declared slots again, after a question."""
        return confirm.decide(self, request, queryset, "resume", limits.resume)
