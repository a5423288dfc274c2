"""The message of a job: its task, its headers, its priority."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import task_message

from agentq.ledger.records import Dispatch
from agentq.states import MIDDLE_PRIORITY, JobKind

CARRIER = "agentq.run"
"""The task whose messages carry plain Celery tasks; those do not know of jobs."""
DEAD_LETTER = "agentq.dead_letter"
"""The task that records a dead letter and calls its handlers."""
TICK = "agentq.tick"
"""The task by which beat says that a tick of a schedule may have come."""
DISPATCH_HEADER = "agentq"
"""The header that marks a job message; its value is the time of the dispatch, in ms of the ledger's clock."""
EARLY_HEADER = "agentq_early"
"""The header of a message that was published before the job's hand-over was committed."""
STEP_ETA = "of a step: only a worker with agentq and this step runs it"
"""The ``eta`` of a step's message: it is no time, so Celery runs no plain task of the same name for it."""
QUEUE_HEADER = "agentq_queue"
"""The header with the queue that a message was sent to: a job that was moved since is not claimed by it."""
PAYS_HEADER = "agentq_pays"
"""The header of a job whose start has to be paid for, which takes another claim."""
PRIORITY_HEADER = "agentq_priority"
"""The job's priority on agentq's scale; messages of one priority come in the order they were sent."""


def job_message(dispatch: Dispatch, early: bool, with_event: bool) -> Any:
    """Build a message of Celery's protocol 2 with the headers that a job message needs.

    Celery's own builder adds a dozen empty ones, which cost time and the bound of 1 KB.
    """
    job_id, is_task = str(dispatch.job_id), dispatch.kind == JobKind.TASK
    # A short dict literal: Flower shows it as the arguments, and can search it. Job ids are the task ids.
    tenant = dispatch.tenant[:32].encode("ascii", "replace").decode()
    summary = repr({"workflow": str(dispatch.workflow_id), "tenant": tenant})
    headers = {
        "lang": "py",
        "task": CARRIER if is_task else dispatch.step,
        "id": job_id,
        "root_id": str(dispatch.workflow_id),
        "parent_id": str(dispatch.after_id) if dispatch.after_id else None,
        "timelimit": [dispatch.hard_timeout, dispatch.timeout],
        "retries": 0,
        "argsrepr": "()",
        "kwargsrepr": summary,
        "ignore_result": True,
        DISPATCH_HEADER: int(dispatch.dispatched_at.timestamp() * 1000),
        QUEUE_HEADER: dispatch.queue,
    }
    if early:
        headers[EARLY_HEADER] = True
    if dispatch.pays:
        headers[PAYS_HEADER] = True
    if dispatch.priority is not None:
        headers[PRIORITY_HEADER] = dispatch.priority
    if is_task:
        headers["shadow"] = dispatch.step
    else:
        headers["eta"] = STEP_ETA
    event = {"uuid": job_id, "name": dispatch.step, "args": "()", "kwargs": summary, "retries": 0}
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
