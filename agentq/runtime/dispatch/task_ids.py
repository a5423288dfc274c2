"""The ids of a workflow and its job that was named by Celery's task id."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6f8d8f0e-3f0b-5c55-9d2c-1a5f1f2b7c11")


def ids_of(task_id: str) -> tuple[uuid.UUID, uuid.UUID]:
    """Return the workflow id and the job id of a call with this Celery task id."""
    try:
        job_id = uuid.UUID(task_id)
    except ValueError:
        job_id = uuid.uuid5(_NAMESPACE, task_id)
    return uuid.uuid5(_NAMESPACE, f"workflow of {job_id}"), job_id
