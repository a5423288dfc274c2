"""The pages of the admin that only show: what they have in common, and tables on them."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from pydantic import BaseModel

from agentq.contrib.django import confirm

_MOST_COUNTED = 10_000
"""Rows that a list counts to its end; counting all of a large table would take longer than showing a page."""


class _BoundedPaginator(Paginator):
    @cached_property
    def count(self) -> int:
        return self.object_list.order_by()[:_MOST_COUNTED].count()


class ReadOnlyAdmin(admin.ModelAdmin):
    """A page that adds, changes and deletes nothing."""

    paginator = _BoundedPaginator
    show_full_result_count = False
    list_per_page = 50
    search_fields = ("id",)
    search_texts: tuple[str, ...] = ()
    search_ids: tuple[str, ...] = ("pk",)
    """Columns that a search compares with: with any text, and with what is an id."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return confirm.may(request, "cancel", self.opts)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Compare whole values, which have an index; a substring would read the whole table."""
        term = search_term.strip()
        if not term:
            return queryset, False
        values: dict[str, Any] = dict.fromkeys(self.search_texts, term) if "\0" not in term else {}
        with suppress(ValueError):
            values |= dict.fromkeys(self.search_ids, uuid.UUID(term))
        if not values:
            return queryset.none(), False
        return queryset.filter(reduce(or_, (models.Q((column, value)) for column, value in values.items()))), False


def as_json(value: Any) -> str:
    """Return a value as it is kept, with its lines."""
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, default=str))


def table(columns: tuple[str, ...], rows: Any, *, links: str = "") -> str:
    """Return *rows* of read models as a table; *links* is the page that their ids lead to."""
    head = format_html_join(
        "", "<th>{}</th>", ((column.removesuffix("_summary").replace("_", " "),) for column in columns)
    )
    body = format_html_join("", "<tr>{}</tr>", ((_cells(columns, row, links),) for row in rows))
    return (
        format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body) if body else "none"
    )


def _cells(columns: tuple[str, ...], row: BaseModel, links: str) -> str:
    values = [getattr(row, column) for column in columns]
    if links:
        url = reverse(f"admin:agentq_{links}_change", args=[values[0]])
        values[0] = format_html('<a href="{}">{}</a>', url, values[0])
    return format_html_join("", "<td>{}</td>", (("" if value is None else value,) for value in values))
