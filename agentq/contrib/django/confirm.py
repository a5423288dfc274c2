"""An action on the admin's pages: asked about once more, with a reason; then one operation for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.auth import get_permission_codename
from django.db.models import QuerySet
from django.db.models.options import Options
from django.http import HttpRequest
from django.template.response import TemplateResponse

from agentq.contrib.django import project
from agentq.exceptions import AgentqError

_MOST = 100
"""Rows that one action decides about."""
_COMMANDS = {
    "workflow": "workflows {} --all",
    "job": "jobs {} --all",
    "deadletter": "dead-letters {} --all",
    "limit": "limits {} NAME",
}
"""The command line's words for the actions of a page."""


def may(request: HttpRequest, verb: str, opts: Options[Any]) -> bool:
    """Say whether the request's user has the permission for *verb* on these rows."""
    codename = get_permission_codename(verb, opts)
    return bool(request.user.has_perm(f"{opts.app_label}.{codename}"))


def decide(
    page: admin.ModelAdmin[Any],
    request: HttpRequest,
    rows: QuerySet[Any],
    verb: str,
    operation: Callable[..., Any],
) -> TemplateResponse | None:
    """Ask whether *verb* is meant, and for the reason; when it is confirmed, do *operation* for each row.

    Each row is a transaction of its own: a row that cannot be decided is reported, and does not stop the others.
    """
    chosen = list(rows[: _MOST + 1])
    if len(chosen) > _MOST:
        more = f"manage.py agentq {_COMMANDS[page.opts.model_name].format(operation.__name__)}"
        page.message_user(request, f"At most {_MOST} at once, please; for more: {more}", messages.ERROR)
        return None
    if "confirmed" not in request.POST:
        return _question(page, request, chosen, verb)
    done = sum(_is_done(page, request, row, operation) for row in chosen)
    page.message_user(
        request, f"{verb}: {done} of {len(chosen)} done", messages.SUCCESS if done else messages.WARNING
    )
    return None


def _is_done(page: admin.ModelAdmin[Any], request: HttpRequest, row: Any, operation: Callable[..., Any]) -> bool:
    actor, reason = request.user.get_username(), request.POST.get("reason", "")
    try:
        found = operation(project.current().ledger, str(row.pk), actor=actor, reason=reason)
    except AgentqError as error:
        page.message_user(request, str(error), messages.ERROR)
        return False
    if found is False:
        page.message_user(request, f"{row} had ended before", messages.WARNING)
    return found is not False


def _question(page: admin.ModelAdmin[Any], request: HttpRequest, rows: list[Any], verb: str) -> TemplateResponse:
    context = page.admin_site.each_context(request) | {
        "title": f"{verb.capitalize()} {len(rows)} of {page.opts.verbose_name_plural}?",
        "opts": page.opts,
        "rows": rows,
        "action": request.POST["action"],
        "checkbox": helpers.ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/agentq/decide.html", context)
