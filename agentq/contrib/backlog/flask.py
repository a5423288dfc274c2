"""Full backlogs in Flask."""

from __future__ import annotations

from flask import Response

from agentq.contrib import backlog
from agentq.exceptions import BacklogFull


def response(error: BacklogFull) -> Response:
    """Return the response to a request whose start was refused; also an error handler of an app."""
    return Response(backlog.body(error), backlog.STATUS, backlog.headers(error), content_type=backlog.CONTENT_TYPE)
