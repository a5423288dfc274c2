"""Pages about workflows: status, result, jobs, events, cancel. What starts them is the app's own view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from flask import Blueprint, Request, Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

from agentq.contrib.flask import problems
from agentq.contrib.sse.flask import events_response
from agentq.exceptions import NotFound, StateConflict
from agentq.ledger.db.session import Ledger
from agentq.operations import jobs, workflows
from agentq.operations.schemas import WorkflowSummary
from agentq.states import JobStatus, WorkflowStatus

Allow = Callable[[Request, WorkflowSummary], bool | Awaitable[bool]]
"""Says whether a request may have a workflow; ``request.method`` is POST where it would cancel it."""


def status_blueprint(
    allow: Allow | None = None, *, actor: Callable[[Request], str] | None = None, name: str = "workflows"
) -> Blueprint:
    """Return a blueprint with pages about workflows, to be registered with a ``url_prefix`` of the app's choice.

    ``GET <id>``, ``GET <id>/result``, ``GET <id>/jobs`` and ``POST <id>/cancel`` answer in JSON, errors as
    ``application/problem+json``. ``GET <id>/events`` streams what happens, and goes on from ``Last-Event-ID``.
    Secrets are masked.

    Args:
        allow: is asked before each answer, with the request and the workflow. A workflow that it refuses is
            answered as one that is not there. Without it all pages are closed: 403.
        actor: who cancels, for the history. Default: the request's ``remote_user``, else the client's address.
        name: the blueprint's name, for ``url_for``.
    """
    pages = _Pages(allow, actor or _client)
    blueprint = Blueprint(name, __name__)
    blueprint.before_request(pages.require_guard)
    blueprint.after_request(_never_kept)
    problems.answer_in_json(blueprint)
    for rule, view in (
        ("/<workflow_id>", pages.status),
        ("/<workflow_id>/result", pages.result),
        ("/<workflow_id>/jobs", pages.jobs),
        ("/<workflow_id>/events", pages.events),
    ):
        blueprint.add_url_rule(rule, view.__name__, view)
    blueprint.add_url_rule("/<workflow_id>/cancel", "cancel", pages.cancel, methods=["POST"])
    return blueprint


class _JobsWanted(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: JobStatus | None = None
    limit: int = Field(50, ge=1, le=500)


class _Cancel(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=1_000)


class _Pages:
    def __init__(self, allow: Allow | None, actor: Callable[[Request], str]) -> None:
        self._allow = allow
        self._actor = actor

    def require_guard(self) -> None:
        if self._allow is None:
            abort(403, "these pages are closed: give status_blueprint(allow=…) what says who may see a workflow")

    def status(self, workflow_id: str) -> ResponseReturnValue:
        return _answer(self._seen(workflow_id))

    def result(self, workflow_id: str) -> ResponseReturnValue:
        workflow = self._seen(workflow_id)
        if workflow.status == WorkflowStatus.RUNNING:
            return _answer(workflow), 202, {"Retry-After": "1"}
        return jsonify(result=workflows.result(_ledger(), workflow_id))

    def jobs(self, workflow_id: str) -> ResponseReturnValue:
        self._seen(workflow_id)
        wanted = _JobsWanted.model_validate(request.args.to_dict())
        of_it = jobs.JobFilter(status=wanted.status, workflow=workflow_id)
        found = jobs.list_(_ledger(), of_it, limit=wanted.limit)
        return jsonify(jobs=[job.model_dump(mode="json") for job in found])

    def events(self, workflow_id: str) -> ResponseReturnValue:
        self._seen(workflow_id)
        return events_response(current_app.extensions["agentq"].workflow(workflow_id))

    def cancel(self, workflow_id: str) -> ResponseReturnValue:
        # JSON alone: a form of another site cannot send it with the user's cookies.
        asked = _Cancel.model_validate(request.get_json())
        workflow = self._seen(workflow_id)
        actor = self._actor(request)
        if not workflows.cancel(_ledger(), workflow_id, actor=actor, reason=asked.reason):
            raise StateConflict(
                f"workflow {workflow.id}", expected=[WorkflowStatus.RUNNING], found=workflow.status
            )
        return _answer(workflows.summary(_ledger(), workflow_id))

    def _seen(self, workflow_id: str) -> WorkflowSummary:
        """Return the workflow; raises NotFound where there is none, or this request may not have it."""
        workflow = workflows.summary(_ledger(), workflow_id)
        allow: Any = self._allow
        if not current_app.ensure_sync(allow)(request, workflow):
            raise NotFound(workflow_id)
        return workflow


def _ledger() -> Ledger:
    agentq = current_app.extensions["agentq"]
    agentq.ensure_ledger()
    ledger: Ledger = agentq.ledger
    return ledger


def _answer(workflow: WorkflowSummary) -> Response:
    return jsonify(workflow.model_dump(mode="json"))


def _client(request: Request) -> str:
    return request.remote_user or f"web, {request.remote_addr}"


def _never_kept(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
