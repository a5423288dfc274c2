"""The answer to a request whose start was refused, in Starlette and without a framework."""

from __future__ import annotations

import json

import pytest

from agentq.contrib import backlog
from agentq.exceptions import BacklogFull

FULL = BacklogFull("max_backlog", "shop.render", most=5, places=1, count=5, oldest=312.4)


def test_the_answer_says_what_is_full_and_when_to_try_again() -> None:
    assert backlog.headers(FULL)["Retry-After"] == "32"
    assert json.loads(backlog.body(FULL)) == {
        "title": "Too Many Requests",
        "status": 429,
        "detail": str(FULL),
        "cap": "max_backlog",
        "most": 5,
        "count": 5,
        "retry_after": FULL.retry_after,
    }


def test_starlette_answers_with_it() -> None:
    pytest.importorskip("starlette")
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route
    from starlette.testclient import TestClient

    from agentq.contrib.backlog.starlette import response

    def start(request: Request) -> Response:
        raise FULL

    app = Starlette(routes=[Route("/", start)], exception_handlers={BacklogFull: response})
    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "32")
    assert answer.headers["Content-Type"].startswith(backlog.CONTENT_TYPE)
    assert answer.json() == json.loads(backlog.body(FULL))
