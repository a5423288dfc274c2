"""Messages that no worker can take: made dead letters, acknowledged, and the worker lives on."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from types import NoneType
from typing import Any

from celery import bootsteps, signals
from celery.worker.consumer import consumer as celery_consumer
from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.utils.imports import symbol_by_name

from agentq.exceptions import nearest
from agentq.ledger.refused_messages import Refusal
from agentq.runtime.bridge.event_batches import EventBatches
from agentq.runtime.caretaker.caretaker import Caretaker, caretaker_of
from agentq.runtime.dispatch.broker_state import is_outage
from agentq.runtime.find import engine_of
from agentq.runtime.refused.raw_message import RawMessage

logger = logging.getLogger(__name__)

_LOGGED_BY_AGENTQ = (
    celery_consumer.INVALID_TASK_ERROR,
    celery_consumer.MESSAGE_DECODE_ERROR,
    celery_consumer.UNKNOWN_FORMAT,
    celery_consumer.UNKNOWN_TASK_ERROR,
)
"""Celery's reports of a message, of many lines and with its body: agentq logs it in one."""
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""The exceptions of readers that expect another form."""


class Intake(EventBatches):
    """A consumer that outlives every message, mixed into the class that the worker names."""

    def on_connection_error_after_connected(self: Any, exc: Exception) -> None:
        if is_outage(exc, self.connection_errors):
            engine_of(self.app).dispatcher.broker.note_away(exc)
        super().on_connection_error_after_connected(exc)  # type: ignore[misc]

    def on_decode_error(self: Any, message: Any, exc: BaseException) -> None:
        self.caretaker.refuse(RawMessage.of(message), Refusal.UNDECODABLE, exc)
        super().on_decode_error(message, exc)  # type: ignore[misc]

    def create_task_handler(self: Any, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Celery's handler of messages expects headers and a body of its own form: another one ends the worker."""
        handle = super().create_task_handler(*args, **kwargs)  # type: ignore[misc]
        jobs = self.caretaker.duties.unfit_jobs

        def handle_or_refuse(message: Any) -> Any:
            try:
                unfit = jobs.find(message.headers)
                if unfit is not None:
                    jobs.add(unfit, RawMessage.of(message, unfit.name))
                    return message.ack_log_error(logger, self.connection_errors)
                if _is_for(self.app.tasks, message):
                    _require_sane(message)
                return handle(message)
            except (DecodeError, ContentDisallowed) as error:
                return self.on_decode_error(message, error)
            except _MALFORMED as error:
                logger.debug("a message is not of the form of Celery's", exc_info=True)
                self.note_malformed(message, error)
                if not message.acknowledged:
                    message.ack_log_error(logger, self.connection_errors)

        return handle_or_refuse

    def surviving(self: Any, read: Callable[..., Any]) -> Callable[..., Any]:
        """On Redis anybody can push anything: without this, what is no envelope ends the worker."""

        def read_or_refuse(*args: Any, **kwargs: Any) -> Any:
            try:
                return read(*args, **kwargs)
            except _MALFORMED as error:
                logger.debug("what the broker delivered is no Celery message", exc_info=True)
                self.caretaker.refuse(_pushed(error), Refusal.UNDECODABLE, error)
                return True

        return read_or_refuse

    def note_malformed(self: Any, message: Any, error: BaseException) -> None:
        """Refuse a message that no reader could read to its end."""
        raw_message = RawMessage.of(message)
        if isinstance(raw_message.task, str) and raw_message.task not in self.app.tasks:
            self.note_unknown(message, raw_message.task)
        else:
            self.caretaker.refuse(raw_message, Refusal.REFUSED, error)

    def note_unknown(self: Any, message: Any = None, name: Any = None, **_: Any) -> None:
        """Refuse a message of a task that the app has not, as Celery's signal says."""
        hint = nearest(str(name), self.app.tasks)
        why = f"no task named {str(name)!r} is registered in this worker.{hint}"
        self.caretaker.refuse(RawMessage.of(message, name), Refusal.UNKNOWN_TASK, why)

    def note_rejected(self: Any, message: Any = None, exc: BaseException | None = None, **_: Any) -> None:
        """Refuse a message that Celery rejects, as its signal says."""
        why = exc or "it names no task"
        self.caretaker.refuse(RawMessage.of(message), Refusal.REFUSED, why)

    @property
    def caretaker(self: Any) -> Caretaker:
        """The caretaker of this worker."""
        found = caretaker_of(self.app)
        assert found is not None, "the worker's own step comes first"
        return found


class ConsumerStep(bootsteps.Step):
    """Celery's hook in the worker, which makes its consumer after all steps: of a class with agentq's methods."""

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        native: Any = symbol_by_name(worker.consumer_cls)  # type: ignore[no-untyped-call]
        worker.consumer_cls = type(native.__name__, (Intake, native), {})


class IntakeStep(bootsteps.StartStopStep):
    """Celery's hook in the consumer: built once, started again after every reconnect."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        celery_consumer.logger.addFilter(_is_not_logged_by_agentq)
        signals.task_unknown.connect(consumer.note_unknown, weak=False)
        signals.task_rejected.connect(consumer.note_rejected, weak=False)

    def start(self, consumer: Any) -> None:
        handlers = getattr(consumer.task_consumer.channel, "handlers", {})
        if "BRPOP" in handlers:
            handlers["BRPOP"] = consumer.surviving(handlers["BRPOP"])


def _is_not_logged_by_agentq(record: logging.LogRecord) -> bool:
    return record.msg not in _LOGGED_BY_AGENTQ or celery_consumer.logger.isEnabledFor(logging.DEBUG)


def _is_for(tasks: Any, message: Any) -> bool:
    return isinstance(message.headers, dict) and message.headers.get("task") in tasks


def _require_sane(message: Any) -> None:
    """Raise ValueError for what Celery believes, and stumbles over when a slot of the pool is taken."""
    body = message.payload  # Celery decodes it here as well; it is kept
    if isinstance(body, dict):
        return  # the older protocol, which Celery checks
    if not isinstance(message.headers.get("id"), str):
        raise ValueError("its header 'id' is no text")
    limits = message.headers.get("timelimit") or (None, None)
    if len(limits) != 2 or not all(isinstance(limit, (int, float, NoneType)) for limit in limits):
        raise ValueError("its header 'timelimit' is not [hard, soft] in seconds")
    args, kwargs, embed = body
    if not (isinstance(args, (list, tuple)) and isinstance(kwargs, dict) and isinstance(embed, (dict, NoneType))):
        raise ValueError("its body is not [args, kwargs, embed]")


def _pushed(error: BaseException) -> RawMessage:
    """Return what kombu had taken from Redis when it met the error; only its own frame has it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_brpop_read":
            found = frame.f_locals
            return RawMessage(None, found.get("dest"), None, {}, found.get("item"))
    return RawMessage(None, None, None, {}, None)
