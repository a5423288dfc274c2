"""The number of messages in the broker's queues."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from celery import Celery


def depths(app: Celery, queues: Collection[str]) -> dict[str, int]:
    """Return the messages of each queue that wait for a worker; a queue that the broker does not have has none.

    A queue whose depth the broker does not give is left out. Raises what the broker's client raises where it
    does not answer within seconds.
    """
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        found = {name: _depth(connection, name) for name in queues}
    return {name: depth for name, depth in found.items() if depth is not None}


def _depth(connection: Any, name: str) -> int | None:
    # A channel of its own: asking for a queue that does not exist closes the channel.
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
    except connection.channel_errors as error:
        code = str(getattr(error, "reply_code", None) or "")
        if not code:  # such as a Redis that has become a replica
            raise
        return 0 if code == "404" else None
