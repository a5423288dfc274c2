"""Full backlogs in Starlette and FastAPI."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from agentq.contrib import backlog
from agentq.exceptions import BacklogFull


def response(request: Request, error: Exception) -> Response:
    """Return the response to a request whose start was refused; for ``app.add_exception_handler(BacklogFull, …)``.

    *error* is a BacklogFull; its type here is the one of Starlette's handlers.
    """
    assert isinstance(error, BacklogFull)
    return Response(backlog.body(error), backlog.STATUS, backlog.headers(error), backlog.CONTENT_TYPE)
