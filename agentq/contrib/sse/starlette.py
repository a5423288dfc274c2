"""Server-sent events in Starlette and FastAPI."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agentq.contrib import sse
from agentq.runtime.workflow import Workflow


async def events_response(workflow: Workflow[Any], request: Request, *, heartbeat: float = 15.0) -> Response:
    """Return a response that streams the workflow's events, on from the request's ``Last-Event-ID``.

    Where all events were sent before, its status is 204: a browser then stops asking. *heartbeat* as in
    ``sse.frames``. Raises NotFound where there is no such workflow.
    """
    after = sse.resume_after(request.headers.get(sse.RESUME_HEADER))
    if await asyncio.to_thread(sse.has_ended_for, workflow, after):
        return Response(status_code=204)
    stream = sse.aframes(workflow, after, heartbeat=heartbeat)
    return StreamingResponse(stream, media_type=sse.CONTENT_TYPE, headers=sse.HEADERS)
