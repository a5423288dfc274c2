"""A backend that runs each task at once, in this process, by the code that runs it in a worker."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from celery.app.trace import build_tracer
from django.tasks import Task, TaskResult
from django.tasks.backends.base import BaseTaskBackend

from agentq.contrib.django import project
from agentq.contrib.django.tasks import Backend
from agentq.contrib.django.tasks.declare import step_of
from agentq.ledger import workers
from agentq.ledger.db.session import Ledger
from agentq.runtime.attempt.lease import Lease, current_lease
from agentq.runtime.dispatch.message import DISPATCH_HEADER


class InlineBackend(Backend):
    """As Django's immediate backend: a task has ended when ``enqueue`` returns, so it is tried once."""

    def validate_task(self, task: Task) -> None:
        BaseTaskBackend.validate_task(self, task)
        step_of(task, {"retries": 0})

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        result = super().enqueue(task, args, kwargs)
        agentq = project.current()
        _sign_on(agentq.ledger)
        (job,) = agentq.workflow(result.id).jobs()
        celery_task = agentq.app.tasks[job.step]
        tracer = build_tracer(job.step, celery_task, app=agentq.app)
        request = {
            "id": str(job.id),
            "root_id": result.id,
            DISPATCH_HEADER: 0,
            "hostname": "inline",
            "is_eager": False,
        }
        tracer(str(job.id), (str(job.id),), {}, request)
        result.refresh()
        return result


@cache
def _lease() -> Lease:
    lease = Lease.open(600)
    lease.renewed(time.monotonic())
    return lease


def _sign_on(ledger: Ledger) -> None:
    _lease()
    worker_id = current_lease().worker_id
    ledger.write(lambda tx: workers.register(tx, worker_id, hostname="inline", pid=1, lease=600))
