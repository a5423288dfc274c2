"""The pages about workflows: what each answers, to whom, and how errors are reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Signature
from flask import Flask, Request, abort
from flask.testing import FlaskClient

import agentq
from agentq.contrib.flask import status_blueprint
from agentq.operations import workflows
from agentq.operations.schemas import WorkflowSummary
from agentq.testing.inline import Inline
from tests.contrib.flask.apps import break_down, make_app, sign_in

UNKNOWN = "019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a10"


def may_see(request: Request, workflow: WorkflowSummary) -> bool:
    """A header names the user; a real application would not believe it."""
    if "X-Tenant" not in request.headers:
        abort(401)
    return request.headers["X-Tenant"] == workflow.tenant


@pytest.fixture
def app() -> Flask:
    app = make_app()
    app.register_blueprint(status_blueprint(may_see, actor=lambda r: r.headers["X-Tenant"]), url_prefix="/w")
    app.register_blueprint(status_blueprint(name="closed"), url_prefix="/closed")
    return app


@pytest.fixture
def inline(app: Flask) -> Iterator[Inline]:
    with Inline(app.extensions["celery"]) as inline:
        yield inline


@pytest.fixture
def client(app: Flask, inline: Inline) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_TENANT"] = "acme"
    return client


def start(canvas: Signature, tenant: str = "acme") -> str:
    return agentq.start(canvas, tenant=tenant).id


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert (answer.json["status"], answer.headers["Cache-Control"]) == (status, "no-store")
    return dict(answer.json)


def test_status_and_result(client: FlaskClient, inline: Inline) -> None:
    workflow_id = start(sign_in.s("ann"))
    assert client.get(f"/w/{workflow_id}").json["status"] == "running"
    early = client.get(f"/w/{workflow_id}/result")
    assert (early.status_code, early.json["status"], early.headers["Retry-After"]) == (202, "running", "1")
    inline.run()
    assert client.get(f"/w/{workflow_id}").json["status"] == "succeeded"
    answer = client.get(f"/w/{workflow_id}/result")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.json["result"]["name"] == "ann"
    assert "hunter2" not in answer.text


def test_jobs(client: FlaskClient, inline: Inline) -> None:
    workflow_id = start(sign_in.si("ann") | sign_in.si("bob"))
    (job,) = client.get(f"/w/{workflow_id}/jobs?status=queued&limit=5").json["jobs"]
    assert (job["step"], job["waiting_for"]) == (sign_in.name, "a free worker on queue 'celery'")
    assert len(client.get(f"/w/{workflow_id}/jobs").json["jobs"]) == 2
    assert len(client.get(f"/w/{workflow_id}/jobs?limit=1").json["jobs"]) == 1
    for query in ("limit=501", "limit=x", "status=lost", "step=x"):
        assert problem(client.get(f"/w/{workflow_id}/jobs?{query}"), 400)["detail"].startswith(
            query[:5].strip("=")
        )


def test_events_go_on_where_they_were_left(client: FlaskClient, inline: Inline) -> None:
    workflow_id = start(sign_in.s("ann"))
    inline.run()
    answer = client.get(f"/w/{workflow_id}/events")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    ids = [line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: ")]
    assert len(ids) >= 2
    left = client.get(f"/w/{workflow_id}/events", headers={"Last-Event-ID": ids[0]})
    assert f"id: {ids[0]}" not in left.text
    assert [line for line in left.text.splitlines() if line.startswith("id: ")] == [
        f"id: {one}" for one in ids[1:]
    ]
    assert client.get(f"/w/{workflow_id}/events", headers={"Last-Event-ID": ids[-1]}).status_code == 204


def test_the_result_of_what_failed(client: FlaskClient, inline: Inline) -> None:
    workflow_id = start(break_down.s())
    inline.run()
    answer = problem(client.get(f"/w/{workflow_id}/result"), 409)
    assert answer["detail"] == f"step {break_down.name!r} failed: it is not here"
    assert (answer["workflow_status"], answer["error_class"]) == ("failed", "LookupError")


def test_cancel(client: FlaskClient, inline: Inline) -> None:
    workflow = agentq.start(sign_in.s("ann"), tenant="acme")
    path = f"/w/{workflow.id}/cancel"
    assert client.get(path).status_code == 405
    problem(client.post(path, data={"reason": "a form of another site"}), 415)
    problem(client.post(path, json={"because": "typo"}), 400)
    problem(client.post(path, json={"reason": "x" * 1_001}), 400)
    assert workflow.status == "running"
    assert client.post(path, json={"reason": "wrong"}).json["status"] == "cancelled"
    assert "is cancelled" in problem(client.post(path, json={}), 409)["detail"]
    (action,) = workflows.get(inline.ledger, workflow.id).actions
    assert (action.actor, action.reason) == ("acme", "wrong")
    assert problem(client.get(f"/w/{workflow.id}/result"), 409)["reason"] == "wrong"


@pytest.mark.parametrize("page", ["", "/result", "/jobs", "/events", "/cancel"])
class TestClosed:
    """Users who may not see."""

    def ask(self, client: FlaskClient, path: str, page: str) -> Any:
        return client.post(path + page, json={}) if page == "/cancel" else client.get(path + page)

    def test_a_workflow_of_another_tenant_is_not_found(self, client: FlaskClient, page: str) -> None:
        of_others = agentq.start(sign_in.s("ann"), tenant="other")
        refused = problem(self.ask(client, f"/w/{of_others.id}", page), 404)
        assert refused == problem(self.ask(client, f"/w/{UNKNOWN}", page), 404)
        assert refused == problem(self.ask(client, "/w/no-id", page), 404)
        assert of_others.status == "running"

    def test_a_response_of_the_guard_is_returned(self, client: FlaskClient, page: str) -> None:
        del client.environ_base["HTTP_X_TENANT"]
        problem(self.ask(client, f"/w/{start(sign_in.s('ann'))}", page), 401)

    def test_without_a_guard_all_is_closed(self, client: FlaskClient, page: str) -> None:
        workflow = agentq.start(sign_in.s("ann"), tenant="acme")
        refused = problem(self.ask(client, f"/closed/{workflow.id}", page), 403)
        assert refused == problem(self.ask(client, f"/closed/{UNKNOWN}", page), 403)
        assert "allow=" in refused["detail"]
        assert workflow.status == "running"


def test_a_silent_ledger_is_an_error_without_its_address() -> None:
    app = make_app(AGENTQ={"ledger": "postgresql+psycopg://127.0.0.1:1/none", "ledger_timeout": 0.2})
    app.register_blueprint(status_blueprint(may_see))
    answer = problem(app.test_client().get(f"/{UNKNOWN}"), 503)
    assert "127.0.0.1" not in answer["detail"]
