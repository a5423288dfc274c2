"""Errors of the pages, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, json
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from agentq.exceptions import LedgerError, NotFound, StateConflict, StepFailed, WorkflowCancelled
from agentq.redaction import clean


def answer_in_json(blueprint: Blueprint) -> None:
    """Let a blueprint's errors be JSON; an error handler of the app's own stays in charge."""
    blueprint.register_error_handler(HTTPException, _http)
    blueprint.register_error_handler(ValidationError, _invalid)
    blueprint.register_error_handler(NotFound, _not_found)
    blueprint.register_error_handler(StateConflict, _conflict)
    blueprint.register_error_handler(StepFailed, _failed)
    blueprint.register_error_handler(WorkflowCancelled, _cancelled)
    blueprint.register_error_handler(LedgerError, _unavailable)


def _http(error: HTTPException) -> Response:
    response = _problem(error.code or 500, error.description or "")
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _invalid(error: ValidationError) -> Response:
    fault = error.errors(include_url=False, include_context=False)[0]
    return _problem(400, clean(f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}", 400))


def _not_found(_: NotFound) -> Response:
    return _problem(404, "there is no such workflow, or it is not yours to see")


def _conflict(error: StateConflict) -> Response:
    return _problem(409, str(error))


def _failed(error: StepFailed) -> Response:
    return _problem(
        409,
        f"step {error.step!r} failed: {error.error_message}",
        workflow_status="failed",
        step=error.step,
        job_id=error.job_id,
        attempts=error.attempts,
        error_class=error.error_class,
        category=error.category,
    )


def _cancelled(error: WorkflowCancelled) -> Response:
    return _problem(409, str(error), workflow_status="cancelled", reason=error.reason)


def _unavailable(error: LedgerError) -> Response:
    current_app.logger.error("the ledger cannot be asked, so a request is answered with 503: %s", error)
    return _problem(503, "the ledger cannot be asked now; try again later")


def _problem(status: int, detail: str, **more: Any) -> Response:
    body = {"title": HTTP_STATUS_CODES[status], "status": status, "detail": detail, **more}
    return Response(json.dumps(body), status, content_type="application/problem+json")
