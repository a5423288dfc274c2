"""Flower: a job's page also shows its workflow, its tenant and its status, and agentq links to that page.

In ``flowerconfig.py``: ``from agentq.contrib.flowerconfig import *``, or only ``from agentq.contrib.flower import
format_task``.
"""

from __future__ import annotations

import ast
import uuid
from typing import Any

from agentq.states import JobStatus

_STATUSES = {
    "RECEIVED": JobStatus.QUEUED,
    "STARTED": JobStatus.RUNNING,
    "RETRY": JobStatus.SCHEDULED,
    "REVOKED": JobStatus.CANCELLED,
}


def format_task(task: Any) -> Any:
    """Return *task*, Flower's own copy of it, with the rows workflow, tenant and job status where it is a job.

    The status is that of the last event, which may be shortly behind the ledger; it is left out where an event
    cannot have it, as of a process that was killed.
    """
    summary = _literal(task.kwargs)
    if summary is not None and summary.keys() == {"workflow", "tenant"}:
        task.workflow, task.tenant, task.job_status = summary["workflow"], summary["tenant"], _status(task)
        task._fields = (*task._fields, "workflow", "tenant", "job_status")
    return task


def task_page(flower_url: str, job_id: uuid.UUID) -> str:
    """Return the address of a job's page in the Flower at *flower_url*."""
    return f"{flower_url.rstrip('/')}/task/{job_id}"


def _status(task: Any) -> str | None:
    match task.state:
        case "SUCCESS":
            result = _literal(task.result) or {}
            done = JobStatus.SUCCEEDED if "attempt" in result else result.get("dropped")
            return JobStatus.CANCELLED if "cancelled" in result else done
        case "FAILURE":  # AttemptFailed is what a step's worker says when the ledger has recorded it
            return JobStatus.FAILED if str(task.exception).startswith("AttemptFailed") else None
    return _STATUSES.get(task.state)


def _literal(text: Any) -> dict[str, Any] | None:
    """Read a short dict as events have it; None for anything else."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
