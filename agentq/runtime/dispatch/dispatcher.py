"""Dispatch: publish the messages of ready jobs. A message carries a job's id and no arguments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

from celery import Celery

from agentq.ledger.records import Dispatch
from agentq.runtime.dispatch.broker_state import BrokerState, is_outage
from agentq.runtime.dispatch.message import DEAD_LETTER, broker_priority, job_message

_AT_ONCE: dict[str, Any] = {"retry": False}
_ONE_RECONNECT: dict[str, Any] = {
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1},
}

Publisher = tuple[str, Callable[[Any, dict[str, Any]], None]]
"""A queue, and what publishes one message to it with a producer and these options of Celery's."""


class Dispatcher:
    """Publishes job messages through Celery's own path, so tracing and ``task-sent`` events keep working."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self.broker = BrokerState()

    def publish(self, dispatches: Iterable[Dispatch], *, early: bool = False) -> int:
        """Publish a message for each dispatch; returns how many were published.

        *early* says that the hand-over to the jobs is not committed yet.

        A broker that does not answer loses nothing: the ledger has the jobs, and a caretaker dispatches
        them when it is back. So this raises nothing, and tries only once to reconnect.
        """
        return self._publish_all(
            [(dispatch.queue, partial(self._publish_job, dispatch, early)) for dispatch in dispatches]
        )

    def announce(self, letters: Iterable[uuid.UUID], queue: str) -> int:
        """Publish a message for each dead letter that is to be recorded; otherwise as ``publish``."""
        return self._publish_all([(queue, partial(self._publish_letter, letter, queue)) for letter in letters])

    def takes(self, queue: str) -> bool:
        """Return whether messages can be sent to the queue; one that was refused is declared once more."""
        if queue not in self.broker.refused:
            return True
        with self._app.connection_for_write() as connection, connection.channel() as channel:
            try:
                self._app.amqp.queues[queue](channel).declare()
            except Exception as error:
                if is_outage(error, connection.connection_errors):
                    raise
                self.broker.note_refused(queue, error)
                return False
        self.broker.note_taken([queue])
        return True

    def _publish_all(self, publishers: list[Publisher]) -> int:
        if not publishers:
            return 0
        refused = self.broker.refused
        if refused and any(queue in refused for queue, _ in publishers):  # it would end the batch of the others
            return self._publish_one_by_one(sorted(publishers, key=lambda publisher: publisher[0] in refused))
        try:
            return self._publish_at_once(publishers)
        except Exception:  # most often a connection that the broker closed while it was idle
            return self._publish_one_by_one(publishers)

    def _publish_at_once(self, publishers: list[Publisher]) -> int:
        with self._app.producer_or_acquire() as producer, _batch(producer, len(publishers)):
            # Here kombu finds how long the first use of a connection may retry.
            producer.connection.transport_options.update(_ONE_RECONNECT["retry_policy"])
            for _, publish in publishers:
                publish(producer, _AT_ONCE)
        self.broker.note_taken(())
        return len(publishers)

    def _publish_one_by_one(self, publishers: list[Publisher]) -> int:
        """Publish one by one, with one reconnect; what was published before comes twice, which is harmless."""
        taken: list[str] = []
        refused: set[str] = set()
        try:
            with self._app.producer_or_acquire() as producer:
                for queue, publish in publishers:
                    if queue in refused:
                        continue
                    try:
                        publish(producer, _ONE_RECONNECT)
                        taken.append(queue)
                    except Exception as error:
                        if is_outage(error, producer.connection.connection_errors):
                            raise
                        refused.add(queue)
                        self.broker.note_refused(queue, error)
                        producer.revive(producer.connection)  # the broker closes the channel that it refuses
        except Exception as error:
            self.broker.note_away(error)
        else:
            self.broker.note_taken(taken)
        return len(taken)

    def _publish_letter(self, letter: uuid.UUID, queue: str, producer: Any, options: dict[str, Any]) -> None:
        self._app.tasks[DEAD_LETTER].apply_async((str(letter),), producer=producer, queue=queue, **options)

    def _publish_job(self, dispatch: Dispatch, early: bool, producer: Any, options: dict[str, Any]) -> None:
        options = {**options, "priority": broker_priority(producer, dispatch.priority)}
        amqp = self._app.amqp
        if hash(amqp.queues[dispatch.queue]) in producer.connection.declared_entities:
            options = {**options, "declare": ()}  # kombu would find that too, but copies the queue first
        message = job_message(dispatch, early, self._app.conf.task_send_sent_event)
        amqp.send_task_message(producer, dispatch.step, message, queue=dispatch.queue, **options)


def _batch(producer: Any, size: int) -> Any:
    return producer.batch() if size > 1 else nullcontext()
