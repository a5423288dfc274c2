"""The queues that a worker consumes: one that the broker refuses is named and left out, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker.state import maybe_shutdown

from agentq.runtime.dispatch.broker_state import is_outage
from agentq.runtime.find import engine_of

_AGAIN = 30.0
"""Seconds until a queue that was refused is tried again."""
_PAUSE = 1.0
"""Seconds to wait where the broker answers and takes nothing, such as a Redis that has become a replica."""


class ConsumingStep(bootsteps.Step):
    """Celery's hook: declares queue by queue, where Celery's consumer would end with the first that is refused."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._consumer = consumer
        self._broker = engine_of(consumer.app).dispatcher.broker
        amqp = consumer.app.amqp
        amqp.TaskConsumer = self._tolerant(amqp.TaskConsumer)

    def _tolerant(self, create: Callable[..., Any]) -> Callable[..., Any]:
        def task_consumer(connection: Any, queues: Any = None, **kwargs: Any) -> Any:
            wanted = list(queues or self._consumer.app.amqp.queues.consume_from.values())
            usable = [queue for queue in wanted if self._is_usable(connection, queue)]
            if len(usable) < len(wanted):
                self._consumer.timer.call_after(_AGAIN, self._consumer.call_soon, (self._try_again,))
            if usable:
                return create(connection, queues=usable, **kwargs)
            made = create(connection, queues=wanted, auto_declare=False, **kwargs)
            made.queues = []  # it consumes nothing yet, and answers to the commands of operators
            return made

        return task_consumer

    def _is_usable(self, connection: Any, queue: Any) -> bool:
        try:
            with connection.channel() as channel:  # the broker closes the channel on which it refuses
                queue(channel).declare()
        except Exception as error:
            if not is_outage(error, connection.connection_errors):
                self._broker.note_refused(queue.name, error)
                return False
            if not isinstance(error, connection.connection_errors):  # it answers, so connecting does not wait
                self._broker.note_away(error)
                maybe_shutdown()
                time.sleep(_PAUSE)
            raise
        self._broker.note_taken([queue.name])
        return True

    def _try_again(self) -> None:
        """Consume what was refused and can be declared now."""
        consumer = self._consumer
        if consumer.connection is None or consumer.task_consumer is None:
            return  # the consumer starts again, and tries all of them
        refused = [
            queue
            for queue in consumer.app.amqp.queues.consume_from.values()
            if not consumer.task_consumer.consuming_from(queue.name)
        ]
        for queue in refused:
            if self._is_usable(consumer.connection, queue):
                consumer.task_consumer.add_queue(queue)
                consumer.task_consumer.consume()
        if any(not consumer.task_consumer.consuming_from(queue.name) for queue in refused):
            consumer.timer.call_after(_AGAIN, consumer.call_soon, (self._try_again,))
