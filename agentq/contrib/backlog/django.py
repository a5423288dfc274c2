"""Full backlogs in Django."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from agentq.contrib import backlog
from agentq.exceptions import BacklogFull


class BacklogMiddleware(MiddlewareMixin):
    """Answers requests whose view lets ``BacklogFull`` through; for ``MIDDLEWARE``."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the response where a start was refused, and None for every other error."""
        return response(exception) if isinstance(exception, BacklogFull) else None


def response(error: BacklogFull) -> HttpResponse:
    """Return the response to a request whose start was refused."""
    return HttpResponse(
        backlog.body(error),
        status=backlog.STATUS,
        headers=backlog.headers(error),
        content_type=backlog.CONTENT_TYPE,
    )
