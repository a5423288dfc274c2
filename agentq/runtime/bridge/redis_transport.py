"""kombu's Redis transport, without what costs agentq's workers time and gives them nothing.

Redis forgets a message that it hands out. So kombu writes each into a hash of unacknowledged ones, and takes it
out again at the end: two round trips a message. Useless for a job message: the ledger has the job, and caretakers
redispatch it. One client a channel will do: kombu makes a new one for each command, which costs as much.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis, virtual

from agentq.runtime.dispatch.message import DISPATCH_HEADER

logger = logging.getLogger(__name__)

# kombu's methods have no types: hence [no-untyped-call]. What a mixin calls with super() is of kombu's channel,
# beside which it stands only in the classes below: hence [misc].


class QoS(redis.QoS):
    """Job messages that are worked on are kept in the worker's memory, all other messages in Redis too."""

    def append(self, message: Any, delivery_tag: str) -> None:
        _keeper(message).append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        _keeper(self._delivered.get(delivery_tag)).ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        _keeper(self._delivered.get(delivery_tag)).reject(self, delivery_tag, requeue)

    def restore_unacked(self, client: Any = None) -> None:
        """Give back what is not acknowledged, as far as the connection still can; never raises.

        Nothing depends on it: the ledger has the jobs, and Redis has all other messages until their timeout.
        """
        try:
            for tag in list(self._delivered):
                self.restore_by_tag(tag, client)
        except Exception as error:  # the connection is lost, which is often why its channel is closed
            logger.debug("Redis did not take messages back: %s: %s", type(error).__name__, error)
        self._delivered.clear()

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        message = self._delivered.get(tag)
        if _is_job_message(message):
            self.channel._restore(message)
        else:
            super().restore_by_tag(tag, client, leftmost)  # type: ignore[no-untyped-call]  # kombu has no types


class _Thrifty:
    """Methods that the channels of all kinds of Redis share; mixed into kombu's."""

    QoS = QoS
    priority_steps = list(range(10))
    """One list in Redis for each priority; kombu has four of them, under the names that they have here."""
    _kept: Any = None

    def _connparams(self: Any, asynchronous: bool = False) -> Any:
        if self.connection is None or self.connection.client is None:
            # kombu would end in an AttributeError, which Celery does not take for a lost connection.
            raise ConnectionError("the connection to Redis is closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]  # of the class that this is mixed into

    def _has_queue(self: Any, queue: str, **_: Any) -> bool:
        return bool(self._size(queue))  # kombu's own asks without the global_keyprefix

    def _create_client(self: Any, asynchronous: bool = False) -> Any:
        if asynchronous:
            return super()._create_client(asynchronous)  # type: ignore[misc]  # of the class that this is mixed into
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]  # of the class that this is mixed into
        return self._kept

    def _restore(self: Any, message: Any, leftmost: bool = False) -> None:
        if _is_job_message(message):
            virtual.Channel._restore(self, message)  # type: ignore[no-untyped-call]  # kombu has no types
        else:
            super()._restore(message, leftmost)  # type: ignore[misc]  # of the class that this is mixed into


class Channel(_Thrifty, redis.Channel):
    """Redis and Valkey."""


class SentinelChannel(_Thrifty, redis.SentinelChannel):
    """Redis behind Sentinel."""


class Transport(redis.Transport):
    """The transport to Redis of a process that has an ``AgentQ``."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """The same for Redis behind Sentinel."""

    Channel = SentinelChannel


def install() -> None:
    """Let kombu use them for all Redis connections that are made from now on."""
    for name, transport in (("redis", Transport), ("rediss", Transport), ("sentinel", SentinelTransport)):
        TRANSPORT_ALIASES[name] = f"{__name__}:{transport.__name__}"


def _keeper(message: Any) -> Any:
    return virtual.QoS if _is_job_message(message) else redis.QoS


def _is_job_message(message: Any) -> bool:
    headers = getattr(message, "headers", None)
    return isinstance(headers, dict) and isinstance(headers.get(DISPATCH_HEADER), int)
