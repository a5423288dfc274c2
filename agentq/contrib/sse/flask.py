"""Server-sent events in Flask."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from agentq.contrib import sse
from agentq.runtime.workflow import Workflow


def events_response(workflow: Workflow[Any], *, heartbeat: float = 15.0) -> Response:
    """Return a response that streams the workflow's events, on from the current request's ``Last-Event-ID``.

    It keeps a thread of the server for as long as the browser listens, and up to two heartbeats longer. Where
    all events were sent before, its status is 204: a browser then stops asking. *heartbeat* as in ``sse.frames``.
    Raises NotFound where there is no such workflow.
    """
    after = sse.resume_after(request.headers.get(sse.RESUME_HEADER))
    if sse.has_ended_for(workflow, after):
        return Response(status=204)
    stream = sse.frames(workflow, after, heartbeat=heartbeat)
    return Response(stream, content_type=sse.CONTENT_TYPE, headers=sse.HEADERS)
