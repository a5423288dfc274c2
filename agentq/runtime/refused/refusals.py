"""Messages that no worker can take, on their way to a dead letter: counted by whom they came to, written later."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from celery import current_task

from agentq.ledger import refused_messages, workers
from agentq.ledger.refused_messages import Refusal, RefusedMessage
from agentq.ledger.transaction import Transaction
from agentq.runtime.attempt.lease import current_lease
from agentq.runtime.refused.raw_message import RawMessage

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

MANY_TASKS = "(many)"
_MOST_KINDS = 100
"""Kinds of refused messages that one worker distinguishes in its life: made-up names have no end."""


class _RefusalLog:
    """The log's lines about refused messages: of each kind the first, the tenth, the hundredth and so on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, message: RefusedMessage) -> None:
        digest = (
            message.digest if message.digest in self._counts or len(self._counts) < _MOST_KINDS else MANY_TASKS
        )
        self._counts[digest] += 1
        count = self._counts[digest]
        what = "a message was" if count == 1 else f"{count} messages were"
        logger.log(
            logging.ERROR if str(count).strip("0") == "1" else logging.DEBUG,
            "%s refused and counted in a dead letter, for task %r of queue %r: %s",
            *(what, message.task, message.queue, message.error_message),
        )


_refusal_log = _RefusalLog()
"""Of what this process runs, and not of what its consumer takes."""


class Refusals:
    """The messages that a worker's consumer refused and its caretaker has not written yet."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._lock = threading.Lock()
        self._kinds: dict[str, RefusedMessage] = {}
        self._unwritten: Counter[str] = Counter()
        self._refusal_log = _RefusalLog()

    def add(self, raw_message: RawMessage, refusal: Refusal, error: BaseException | str) -> None:
        """Count a message; for the thread that consumes, so it never waits for the ledger."""
        message = raw_message.refused(refusal, error, self._tenant)
        with self._lock:
            if message.digest not in self._kinds and len(self._kinds) >= _MOST_KINDS:
                message = replace(message, task=MANY_TASKS, queue="", content_type="")
            if message.digest not in self._kinds:
                self._kinds[message.digest] = replace(message, snapshot=raw_message.snapshot())
            self._unwritten[message.digest] += 1
            self._refusal_log.add(message)

    def write(self, write: Callable[[dict[RefusedMessage, int]], Any]) -> None:
        """Give *write* what came since, each kind with how often; kept for the next time where that raises."""
        with self._lock:
            unwritten = Counter(self._unwritten)
        if unwritten:
            # In one order everywhere: two workers that write the same letters would wait for each other.
            write({self._kinds[digest]: messages for digest, messages in sorted(unwritten.items())})
            with self._lock:
                self._unwritten -= unwritten


def write(tx: Transaction, worker_id: Any, refused: dict[RefusedMessage, int]) -> None:
    """Write the dead letters of refused messages, and count them on the worker that refused them."""
    for message, messages in refused.items():
        refused_messages.count(tx, message, messages)
    workers.count_refused(tx, worker_id, sum(refused.values()))


def refuse_current(engine: Engine, why: str) -> None:
    """Write the dead letter of the message that this process runs; *why* says what is wrong with it.

    For faults that only the ledger can know: its job does not exist, or is of another step. Raises
    LedgerUnavailable.
    """
    request = current_task.request
    raw_message = RawMessage(
        task=current_task.name,
        queue=(request.delivery_info or {}).get("routing_key"),
        content_type="application/json",
        headers={"id": request.id, "origin": request.origin},
        body=json.dumps([request.args, request.kwargs], default=str),
    )
    message = raw_message.refused(Refusal.REFUSED, why, engine.settings.tenant)
    _refusal_log.add(message)
    refused = {replace(message, snapshot=raw_message.snapshot()): 1}
    worker_id = current_lease().worker_id
    engine.ledger.write(lambda tx: write(tx, worker_id, refused))
