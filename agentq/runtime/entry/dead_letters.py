"""The Celery task that records dead letters and calls the handlers that the application registered."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from celery import Celery, shared_task

from agentq.exceptions import NotFound
from agentq.job_log import job_log
from agentq.ledger import dead_letter_tasks
from agentq.ledger.losses import DEADLINE_EXCEEDED
from agentq.operations import dead_letters
from agentq.operations.schemas import DeadLetter
from agentq.runtime.dispatch.message import DEAD_LETTER
from agentq.runtime.find import engine_of
from agentq.states import MISSING_MEMBERS

logger = logging.getLogger(__name__)

Handler = Callable[[DeadLetter], Any]
H = TypeVar("H", bound=Handler)

_handlers: dict[str, Handler] = {}


def on_dead_letter(handler: H) -> H:
    """Register a function that is called with each dead letter, in a worker, after it was recorded.

    It is called at least once for each: again where the worker died before it could say that it was. What it
    raises is logged and keeps nothing from the other handlers or the record.

    Args:
        handler: a function of one argument, the ``DeadLetter``.

    Returns the function itself, so this can be used as a decorator.
    """
    _handlers[f"{handler.__module__}.{handler.__qualname__}"] = handler
    return handler


def install() -> None:
    """Give the task to every Celery app, made or to come."""
    shared_task(name=DEAD_LETTER, bind=True, acks_late=True, ignore_result=True)(_dead_letter)


def _dead_letter(self: Any, letter_id: str) -> str:
    """Record a dead letter and call its handlers."""
    return _handle(self.app, letter_id)


def _handle(app: Celery, letter_id: str) -> str:
    ledger = engine_of(app).ledger
    try:
        letter = dead_letters.record(ledger, uuid.UUID(letter_id))
    except (NotFound, ValueError, TypeError, AttributeError):
        logger.error("a message names dead letter %.40r, which is not in this ledger; it is refused", letter_id)
        return "refused"
    if _is_ended_by_no_attempt(letter):
        log = job_log(logger, letter.step, str(letter.job_id))
        log.error(
            "failed for good: %s; it is a dead letter; see: agentq jobs show %s",
            *(letter.error_message, letter.job_id),
        )
    for name, handler in _handlers.items():
        try:
            handler(letter)
        except Exception:
            # With its traceback: it is the application's own code, and no other log line has it.
            logger.exception(
                "handler %s raised for dead letter %s of step %s, job %s; the letter and other handlers go on",
                *(name, letter.id, letter.step, letter.job_id),
            )
    ledger.write(lambda tx: dead_letter_tasks.mark_handled(tx, letter.id))
    return str(letter.status)


def _is_ended_by_no_attempt(letter: DeadLetter) -> bool:
    """Say whether no attempt logged the end of its job."""
    return letter.error_class == DEADLINE_EXCEEDED.error_class or letter.error_category == MISSING_MEMBERS
