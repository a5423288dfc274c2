"""Server-sent events in Django, under WSGI and under ASGI."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from agentq.contrib import sse
from agentq.runtime.workflow import Workflow


def events_response(request: HttpRequest, workflow: Workflow[Any], *, heartbeat: float = 15.0) -> HttpResponseBase:
    """Return a response that streams the workflow's events, on from the request's ``Last-Event-ID``.

    For a view that is no coroutine. Under WSGI it keeps a thread of the server for as long as the browser listens,
    and up to two heartbeats longer; under ASGI the one that Django has for each request, idle. Where all events
    were sent before, its status is 204: a browser then stops asking. *heartbeat* as in ``sse.frames``. Raises
    NotFound where there is no such workflow.
    """
    after = sse.resume_after(request.headers.get(sse.RESUME_HEADER))
    if sse.has_ended_for(workflow, after):
        return HttpResponse(status=204)
    frames = sse.aframes if isinstance(request, ASGIRequest) else sse.frames
    stream = frames(workflow, after, heartbeat=heartbeat)
    return StreamingHttpResponse(stream, content_type=sse.CONTENT_TYPE, headers=sse.HEADERS)
