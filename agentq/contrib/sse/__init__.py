"""Server-sent events of a workflow, for a browser's ``EventSource``; no framework is needed.

A response for a framework is in the module of its name: ``starlette`` (FastAPI too), ``flask``, ``django``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from agentq.operations.events import is_event_id
from agentq.operations.schemas import Event
from agentq.runtime.workflow import Workflow

__all__ = [
    "CONTENT_TYPE",
    "HEADERS",
    "RESUME_HEADER",
    "aframes",
    "frame",
    "frames",
    "has_ended_for",
    "resume_after",
]

CONTENT_TYPE = "text/event-stream"
RESUME_HEADER = "Last-Event-ID"
"""The request's header in which a browser that lost its connection sends the id of the last event it has."""
HEADERS = {
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}
"""Headers of the response, beside its content type."""

_HEARTBEAT = ": heartbeat\n\n"


def frame(event: Event) -> str:
    """Return one event as the browser reads it: its kind, its id, and ``at``, ``step``, … as JSON."""
    data = json.dumps(event.model_dump(mode="json", exclude={"id", "kind"}), ensure_ascii=False)
    return f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"


def frames(workflow: Workflow[Any], after: str | None = None, *, heartbeat: float = 15.0) -> Iterator[str]:
    """Yield the workflow's events to its end, and those to come.

    Args:
        workflow: which.
        after: the id of the last event that the browser has; see ``resume_after``.
        heartbeat: seconds between two comments that keep proxies from closing the connection.
    """
    while not has_ended_for(workflow, after):
        for event in workflow.events(after, timeout=heartbeat):
            after = event.id
            yield frame(event)
            if event.is_end:
                return
        yield _HEARTBEAT


async def aframes(
    workflow: Workflow[Any], after: str | None = None, *, heartbeat: float = 15.0
) -> AsyncIterator[str]:
    """Yield the same as ``frames``, without blocking the event loop."""
    while not await asyncio.to_thread(has_ended_for, workflow, after):
        async for event in workflow.aevents(after, timeout=heartbeat):
            after = event.id
            yield frame(event)
            if event.is_end:
                return
        yield _HEARTBEAT


def resume_after(header: str | None) -> str | None:
    """Return what the header ``Last-Event-ID`` says, None where it is missing or no id of an event."""
    return header if header and is_event_id(header) else None


def has_ended_for(workflow: Workflow[Any], after: str | None) -> bool:
    """Say whether the workflow has ended and nothing came after that event.

    A browser opens a connection that was closed anew, unless it is answered with status 204 then. Raises NotFound
    where there is no such workflow.
    """
    if not workflow.ready() or after is None:
        return False
    return next(workflow.events(after, follow=False), None) is None
