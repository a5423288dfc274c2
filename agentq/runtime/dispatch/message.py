"""The message of a job: its task, its headers, its priority."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import task_message

from agentq.ledger.records import Bell
from agentq.states import JobKind

CARRIER = "agentq.run"
"""The task whose messages carry plain Celery tasks; those do not know of jobs."""
DEAD_LETTER = "agentq.dead_letter"
"""The task that records a dead letter and calls its handlers."""
BELL_HEADER = "agentq"
"""The header that tells a bell from a plain call; its value is when it was rung, in ms of the ledger's clock."""
EARLY_HEADER = "agentq_early"
"""The header of a bell that was rung before the job's hand-over was committed."""
STEP_ETA = "of a step: only a worker with agentq and this step runs it"
"""The ``eta`` of a step's message: it is no time, so Celery runs no plain task of the same name for it."""
QUEUE_HEADER = "agentq_queue"
"""The header with the queue that a bell was sent to: a job that was moved since is not claimed by it."""
PRIORITY_HEADER = "agentq_priority"
"""The job's priority on agentq's scale; messages of one priority come in the order they were sent."""
MIDDLE_PRIORITY = 4
"""Where a job without a priority stands on agentq's scale."""


def job_message(bell: Bell, early: bool, with_event: bool) -> Any:
    """Build a message of Celery's protocol 2 with the headers that a bell needs.

    Celery's own builder adds a dozen empty ones, which cost time and the bound of 1 KB.
    """
    job_id, is_task = str(bell.job_id), bell.kind == JobKind.TASK
    # A short dict literal: Flower shows it as the arguments, and can search it. Job ids are the task ids.
    tenant = bell.tenant[:32].encode("ascii", "replace").decode()
    summary = repr({"workflow": str(bell.workflow_id), "tenant": tenant})
    headers = {
        "lang": "py",
        "task": CARRIER if is_task else bell.step,
        "id": job_id,
        "root_id": str(bell.workflow_id),
        "parent_id": str(bell.after_id) if bell.after_id else None,
        "timelimit": [bell.hard_timeout, bell.timeout],
        "retries": 0,
        "argsrepr": "()",
        "kwargsrepr": summary,
        "ignore_result": True,
        BELL_HEADER: int(bell.rung_at.timestamp() * 1000),
        QUEUE_HEADER: bell.queue,
    }
    if early:
        headers[EARLY_HEADER] = True
    if bell.priority is not None:
        headers[PRIORITY_HEADER] = bell.priority
    if is_task:
        headers["shadow"] = bell.step
    else:
        headers["eta"] = STEP_ETA
    event = {"uuid": job_id, "name": bell.step, "args": "()", "kwargs": summary, "retries": 0}
    event |= {"root_id": headers["root_id"], "parent_id": headers["parent_id"], "eta": None, "expires": None}
    return task_message(
        headers=headers,
        properties={"correlation_id": job_id, "reply_to": ""},
        body=((job_id,), {}, {}),
        sent_event=event if with_event else None,
    )


def broker_priority(producer: Any, priority: int | None) -> int:
    """One scale, 9 first, for all brokers: Redis counts the other way round."""
    priority = MIDDLE_PRIORITY if priority is None else priority
    return 9 - priority if producer.connection.transport.driver_type == "redis" else priority
