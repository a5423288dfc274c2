"""Messages that no worker can take: logged, counted, acknowledged, and the worker lives on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals

from agentq.runtime.find import agentq_of

if TYPE_CHECKING:
    from agentq.runtime.caretaker import Caretaker

logger = logging.getLogger(__name__)


class IntakeStep(bootsteps.StartStopStep):
    """Celery's hook in the consumer: built once, started again after every reconnect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        caretaker = agentq_of(consumer.app).caretaker
        assert caretaker is not None, "the worker's own step comes first"
        self._caretaker: Caretaker = caretaker
        consumer.on_decode_error = self._counted(consumer.on_decode_error)
        for signal in (signals.task_unknown, signals.task_rejected):
            signal.connect(self._count, weak=False)

    def start(self, consumer: Any) -> None:
        handlers = getattr(consumer.task_consumer.channel, "handlers", {})
        if "BRPOP" in handlers:
            handlers["BRPOP"] = self._surviving(handlers["BRPOP"])

    def _counted(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        def handle_and_count(*args: Any, **kwargs: Any) -> Any:
            self._caretaker.count_refused()
            return handle(*args, **kwargs)

        return handle_and_count

    def _surviving(self, read: Callable[..., Any]) -> Callable[..., Any]:
        """On Redis anybody can push anything: without this, what is no envelope ends the worker."""

        def read_or_refuse(*args: Any, **kwargs: Any) -> Any:
            try:
                return read(*args, **kwargs)
            except (ValueError, KeyError, TypeError, AttributeError):
                logger.exception("what the broker delivered is no Celery message: dropped")
                self._caretaker.count_refused()
                return True

        return read_or_refuse

    def _count(self, **_: Any) -> None:
        self._caretaker.count_refused()
