"""The messages of a test: kept where a broker would be, delivered as a worker of Celery's would."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable
from typing import Any

from celery import Celery
from celery.app.trace import build_tracer

from agentq.ledger.records import Dispatch
from agentq.runtime.caretaker.lost_messages import LostMessages
from agentq.runtime.dispatch.dispatcher import Dispatcher
from agentq.runtime.dispatch.message import CARRIER, DEAD_LETTER, DISPATCH_HEADER, EARLY_HEADER, PAYS_HEADER
from agentq.states import JobKind


class Mailbox(Dispatcher):
    """In place of an app's dispatcher: keeps messages in order until they are delivered."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._messages: deque[tuple[str, str, dict[str, Any]]] = deque()

    def publish(self, dispatches: Iterable[Dispatch], *, early: bool = False) -> int:
        """Keep a message for each dispatch."""
        for dispatch in dispatches:
            name = CARRIER if dispatch.kind == JobKind.TASK else dispatch.step
            request = {
                "root_id": str(dispatch.workflow_id),
                "parent_id": str(dispatch.after_id) if dispatch.after_id else None,
                DISPATCH_HEADER: int(dispatch.dispatched_at.timestamp() * 1000),
                EARLY_HEADER: early,
                PAYS_HEADER: dispatch.pays,
            }
            self._keep(name, dispatch.job_id, dispatch.queue, request)
        return len(self._messages)

    def announce(self, letters: Iterable[uuid.UUID], queue: str) -> int:
        """Keep a message for each dead letter that is to be recorded."""
        for letter in letters:
            self._keep(DEAD_LETTER, letter, queue, {})
        return len(self._messages)

    def deliver(self) -> bool:
        """Run the task of the oldest message to its end; False where there is none.

        By Celery's own tracer, so that signals and the app's own task class see what they see in a worker.
        """
        try:
            name, task_id, request = self._messages.popleft()
        except IndexError:
            return False
        tracer = build_tracer(name, self._app.tasks[name], app=self._app, eager=True)
        tracer(task_id, (task_id,), {}, request)
        return True

    @property
    def queues(self) -> set[str]:
        """The queues that messages are kept for."""
        return {request["delivery_info"]["routing_key"] for _, _, request in self._messages}

    def _keep(self, name: str, subject: uuid.UUID, queue: str, request: dict[str, Any]) -> None:
        common = {"id": str(subject), "task": name, "retries": 0, "ignore_result": True}
        request |= common | {"hostname": "inline", "delivery_info": {"routing_key": queue}}
        self._messages.append((name, str(subject), request))


class MailboxLostMessages(LostMessages):
    """The caretaker's evidence of lost messages, from a mailbox in place of the broker."""

    def __init__(self, app: Celery, mailbox: Mailbox) -> None:
        super().__init__(app, tolerance=0)
        self._mailbox = mailbox

    def empty(self, queues: list[str]) -> set[str]:
        """Return those queues of which there are no messages."""
        return set(queues) - self._mailbox.queues
