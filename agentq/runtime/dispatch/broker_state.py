"""The state of the broker as a process sees it: one line in its log for each outage, one for each recovery."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed  # type: ignore[import-untyped]
from kombu.exceptions import OperationalError
from redis.exceptions import NoPermissionError, RedisError

from agentq.redaction import clean
from agentq.runtime.log.outage import Outage, unless_of_pool

logger = logging.getLogger(__name__)

_AWAY = "the broker takes no messages: %s; jobs stay queued in the ledger, and are sent when it is back"
_BACK = "the broker takes messages again after %.0f s"


class BrokerState:
    """The state of the broker: up or down, and the queues that it refuses."""

    def __init__(self) -> None:
        self._outage = Outage(logger, _AWAY, _BACK, is_reported_by_parent=True)
        self.refused: dict[str, str] = {}
        """Queues that could not be declared or written to when that was last tried, each with the reason."""

    def note_away(self, error: BaseException) -> None:
        """Note that the broker does not answer, or takes nothing at all."""
        self._outage.begin(clean(f"{type(error).__name__}: {error}", 500))

    def note_refused(self, queue: str, error: BaseException) -> None:
        """Note that the broker refuses this queue alone."""
        reason = refusal_of(queue, error)
        if self.refused.get(queue) != reason:
            self.refused[queue] = reason
            logger.log(
                unless_of_pool(logging.WARNING),
                "%s; its jobs wait until it can be, and other queues go on",
                reason,
            )

    def note_taken(self, queues: Iterable[str]) -> None:
        """Note that the broker took messages for these queues."""
        self._outage.end()
        for queue in self.refused.keys() & set(queues) if self.refused else ():
            del self.refused[queue]
            logger.log(unless_of_pool(logging.INFO), "queue %r takes messages again", queue)


def address_of(connection: Any) -> str:
    """Return the broker's URL with its password masked, if it has one."""
    url = str(connection.as_uri())
    return url if connection.password else url.replace("//:**@", "//").replace(":**@", "@")


def refusal(connection: Any, queues: Any, name: str) -> str | None:
    """Return why the broker refuses a queue, with what to do; None where it does not. Makes no queue.

    *queues* are those of the app, by name. Raises what the broker's client raises where it does not answer.
    """
    try:
        queue = queues[name]
        for passive in (True, False):  # to declare it as it is there changes nothing
            with connection.channel() as channel:
                queue(channel).queue_declare(passive=passive)
    except NotFound:
        return None
    except Exception as error:
        if str(getattr(error, "reply_code", None)) == "404":
            return None
        if is_outage(error, connection.connection_errors):
            raise
        return refusal_of(name, error)
    return None


def is_outage(error: BaseException, connection_errors: tuple[type[BaseException], ...]) -> bool:
    """Return whether the broker as a whole fails, which passes; else it is the fault of one queue or message."""
    cause = error.__cause__ if isinstance(error, OperationalError) and error.__cause__ else error
    if isinstance(cause, RedisError):
        return not (isinstance(cause, NoPermissionError) or str(cause).startswith("WRONGTYPE"))
    if isinstance(cause, (KeyError, PreconditionFailed, AccessRefused, NotFound)):
        return False
    return isinstance(cause, (*connection_errors, OperationalError))


def refusal_of(queue: str, error: BaseException) -> str:
    """Return one sentence, without its full stop: which queue, why, and what to do."""
    cause = error.__cause__ if isinstance(error, OperationalError) and error.__cause__ else error
    return f"queue {queue!r} cannot be declared ({type(cause).__name__}: {cause}); {_fix(queue, cause)}"


def _fix(queue: str, error: BaseException) -> str:
    if isinstance(error, PreconditionFailed):
        return (
            "the broker has it with other arguments than this app declares: declare it as it is there, "
            f"or delete it there once it is empty (rabbitmqctl delete_queue {queue})"
        )
    if isinstance(error, (AccessRefused, NoPermissionError)):
        return "let the broker's user configure, write and read it"
    if isinstance(error, KeyError):
        return "add it to task_queues, correct its name, or set task_create_missing_queues"
    return "see what the broker has under this name"
