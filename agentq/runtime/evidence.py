"""Evidence that a message was lost: the broker has none for the queue, or later ones came first.

Sending again on a timer alone would flood a queue that is merely long. Duplicates are harmless, floods are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Celery

from agentq.ledger.caretaking import Unclaimed
from agentq.runtime.dispatcher import BELL_HEADER

Lane = tuple[str, int | None]
"""A queue and a priority: within one, messages come in the order in which they were sent."""


class Evidence:
    """What this worker has seen of the broker's queues."""

    def __init__(self, app: Celery, tolerance: float) -> None:
        self._app = app
        self._tolerance = tolerance
        self._latest: dict[Lane, float] = {}

    def note_received(self, request: Any) -> None:
        """Note when the bell of a received message was rung; cheap, called for every message."""
        rung_at = request.request_dict.get(BELL_HEADER)
        if isinstance(rung_at, int):
            info = request.delivery_info
            lane = (str(info.get("routing_key")), info.get("priority"))
            self._latest[lane] = max(self._latest.get(lane, 0.0), rung_at / 1000)

    def lost(self, unclaimed: Iterable[Unclaimed]) -> list[Unclaimed]:
        """Return those jobs whose messages must be taken for lost; raises what the broker client raises."""
        jobs = list(unclaimed)
        empty = self._empty_queues({job.queue for job in jobs})
        return [job for job in jobs if job.queue in empty or self._overtaken(job)]

    def _overtaken(self, job: Unclaimed) -> bool:
        lanes = [rung_at for (queue, _), rung_at in self._latest.items() if queue == job.queue]
        # Priorities overtake each other rightly; a queue with one of them only has one order.
        latest = lanes[0] if len(lanes) == 1 else 0.0
        return job.dispatched_at.timestamp() < latest - self._tolerance

    def _empty_queues(self, names: set[str]) -> set[str]:
        if not names:
            return set()
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            return {name for name in names if self._depth(connection, name) == 0}

    def _depth(self, connection: Any, name: str) -> int:
        # A channel of its own: asking for a queue that does not exist closes the channel.
        try:
            with connection.channel() as channel:
                return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:
            return 0
