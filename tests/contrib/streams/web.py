"""A web server of one framework that streams events, and counts the traces of streams.

Run as a module: ``python -m tests.contrib.streams.web FRAMEWORK PORT``, with the ledger's URL in AGENTQ_LEDGER.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from celery import Celery

from agentq import AgentQ
from agentq.contrib import sse

agentq = AgentQ(Celery("web", broker="memory://"))
HEARTBEAT = 0.1
_STREAMS = {sse.frames.__code__, sse.aframes.__code__}


def left() -> dict[str, int]:
    """Count the streams, the threads, and the connections to the ledger that are in use."""
    objects = gc.get_objects()
    frames = [each.gi_frame for each in objects if isinstance(each, GeneratorType)]
    frames += [each.ag_frame for each in objects if isinstance(each, AsyncGeneratorType)]
    pool: Any = agentq.ledger.engine.pool
    return {
        "streams": sum(frame is not None and frame.f_code in _STREAMS for frame in frames),  # not yet ended
        "threads": threading.active_count(),
        "connections": pool.checkedout(),
    }


def flask(port: int) -> None:
    from flask import Flask, Response

    from agentq.contrib.sse.flask import events_response

    web = Flask(__name__)
    web.get("/left")(left)

    @web.get("/<workflow_id>")
    def events(workflow_id: str) -> Response:
        return events_response(agentq.workflow(workflow_id), heartbeat=HEARTBEAT)

    _serve_wsgi(web, port)


def starlette(port: int) -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from agentq.contrib.sse.starlette import events_response

    async def events(request: Request) -> Response:
        workflow = await agentq.aworkflow(request.path_params["id"])
        return await events_response(workflow, request, heartbeat=HEARTBEAT)

    async def tell_left(request: Request) -> Response:
        return JSONResponse(left())

    _serve_asgi(Starlette(routes=[Route("/left", tell_left), Route("/{id}", events)]), port)


def django_wsgi(port: int) -> None:
    _set_up_django()
    from django.core.wsgi import get_wsgi_application

    _serve_wsgi(get_wsgi_application(), port)


def django_asgi(port: int) -> None:
    _set_up_django()
    from django.core.asgi import get_asgi_application

    _serve_asgi(get_asgi_application(), port)


FRAMEWORKS: dict[str, Callable[[int], None]] = {
    each.__name__: each for each in (flask, starlette, django_wsgi, django_asgi)
}


def _set_up_django() -> None:
    from django.conf import settings
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    from agentq.contrib.sse.django import events_response

    def events(request: HttpRequest, workflow_id: str) -> Any:
        return events_response(request, agentq.workflow(workflow_id), heartbeat=HEARTBEAT)

    class Urls:
        urlpatterns = [path("left", lambda request: JsonResponse(left())), path("<workflow_id>", events)]

    sys.modules["urls"] = Urls  # type: ignore[assignment]
    settings.configure(SECRET_KEY="not secret", ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls")


def _serve_wsgi(web: Any, port: int) -> None:
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, web, threaded=True)


def _serve_asgi(web: Any, port: int) -> None:
    import uvicorn

    uvicorn.run(web, port=port)


if __name__ == "__main__":
    FRAMEWORKS[sys.argv[1]](int(sys.argv[2]))
