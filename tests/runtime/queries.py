"""Queries of the tests of survival: histories, worker rows, the audit, raw messages."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select

from agentq import AgentQ
from agentq.ledger.audit.audit import audit
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import WorkerRow
from agentq.operations.schemas import Job
from agentq.runtime.workflow import Workflow
from tests.support import Broker, Worker


def job_of(workflow: Workflow[Any]) -> Job:
    """The first job of a workflow."""
    return workflow.jobs()[0]


def history(workflow: Workflow[Any]) -> list[str]:
    """The outcomes of all attempts at the first job of a workflow."""
    return [str(attempt.outcome) for attempt in job_of(workflow).attempts]


def ledger_time(agentq: AgentQ) -> datetime:
    """The time by the clock that all times of the ledger are taken from."""
    return agentq.ledger.read(lambda connection: connection.execute(select(now())).scalar_one())


def row_of(agentq: AgentQ, worker: Worker) -> AnyRow:
    """The ledger's row of a worker."""
    query = select(WorkerRow.__table__).where(WorkerRow.hostname == worker.name)
    return agentq.ledger.read(lambda connection: connection.execute(query).one())


def require_sound(agentq: AgentQ) -> None:
    """Fail with what the audit finds."""
    assert agentq.ledger.read(audit) == []


def publish(agentq: AgentQ, broker: Broker, body: Any, **options: Any) -> None:
    """Put one message into the broker's queue as an outsider would."""
    with agentq.app.connection_for_write() as connection:
        connection.Producer().publish(body, exchange="", routing_key=broker.queue, **options)


def taken_message(agentq: AgentQ, broker: Broker) -> Callable[[], None]:
    """Take the only message from the queue; return what puts one like it back."""
    with agentq.app.connection_for_write() as connection:
        message = connection.default_channel.basic_get(broker.queue, no_ack=True)
    options = {"headers": message.headers, "correlation_id": message.properties["correlation_id"]}
    coding = {"content_type": message.content_type, "content_encoding": message.content_encoding}
    return lambda: publish(agentq, broker, message.body, **options, **coding)


def dispatch_headers(step: str, job_id: uuid.UUID) -> dict[str, Any]:
    """The headers of a message for a job."""
    return {"task": step, "id": str(job_id), "lang": "py", "agentq": 1, "argsrepr": "()", "kwargsrepr": "{}"}
