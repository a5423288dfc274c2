"""The output of ``--json`` keeps its shape: names may be added, none may be changed or removed."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from agentq.operations import schemas
from agentq.operations.audit import Audit
from agentq.operations.health import Finding

SUMMARY_OF_JOB = """
    id workflow_id tenant kind step status attempt max_attempts queue priority waiting_for due_at created_at
    started_at finished_at worker_id error_category error_class error_message attempts_before uncounted by_hand
    attempts_summary
"""
SUMMARY_OF_WORKFLOW = """
    id name tenant key status reason created_at finished_at error_category error_class error_message
"""
SUMMARY_OF_LETTER = """
    id kind status job_id workflow_id tenant step attempts needs_person owner note messages error_category
    error_class error_message created_at recorded_at closed_at
"""
LIMIT = "name slots declared override used waiting is_capped"
TENANT = "tenant weight max_open open is_capped"
WORKER = "id hostname pid status running started_at seen_at lease_until stopped_at refused_messages"

SHAPES: dict[type[BaseModel], str] = {
    schemas.WorkflowSummary: SUMMARY_OF_WORKFLOW,
    schemas.WorkflowDetails: f"{SUMMARY_OF_WORKFLOW} jobs actions",
    schemas.JobSummary: SUMMARY_OF_JOB,
    schemas.Job: f"""
        {SUMMARY_OF_JOB} after_id join_id position timeout expires_at due_reason deferrals deferred args kwargs
        result attempts
    """,
    schemas.Attempt: """
        number outcome worker_id started_at finished_at error_category error_class error_message error_traceback
        error_provider error_status error_code error_request_id
    """,
    schemas.ByHand: "actor reason created_at",
    schemas.Action: "job_id action actor reason created_at",
    schemas.DeadLetterSummary: SUMMARY_OF_LETTER,
    schemas.DeadLetter: f"{SUMMARY_OF_LETTER} snapshot args kwargs replays actions",
    schemas.DeadLetterCount: "value letters",
    schemas.Decided: "done refused fit",
    schemas.Replays: "done refused fit capped",
    schemas.Refused: "id why",
    schemas.Queue: "name depth queued scheduled running oldest_seconds capped",
    schemas.Limit: LIMIT,
    schemas.LimitDetails: f"{LIMIT} tenants holders holds changes",
    schemas.Override: "slots until actor reason",
    schemas.LineOfTenant: "tenant weight served waiting is_capped",
    schemas.Hold: "job_id step attempt is_running until created_at",
    schemas.LimitChange: "name before after until actor reason created_at",
    schemas.Tenant: TENANT,
    schemas.TenantDetails: f"{TENANT} oldest_at postponed changes",
    schemas.TenantChange: "tenant before after weight_before weight_after actor reason created_at",
    schemas.Reason: "job_id step status name waiting_for ends",
    schemas.Why: "workflow_id job_id status reasons is_complete workers",
    schemas.Worker: WORKER,
    schemas.WorkerDetails: f"{WORKER} jobs",
    schemas.Event: "id kind at job_id step attempt data",
    schemas.Pruned: "workflows jobs dead_letters limits is_dry_run is_complete",
    Finding: "level subject what fix",
    Audit: "is_sound workflows jobs violations listed unlisted",
}


@pytest.mark.parametrize("model", SHAPES, ids=lambda model: model.__name__)
def test_json_keeps_every_name(model: type[BaseModel]) -> None:
    assert set(SHAPES[model].split()) <= model.model_fields.keys() | model.model_computed_fields.keys()
