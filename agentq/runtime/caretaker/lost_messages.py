"""Evidence that a message was lost: the broker has none for the queue, or later ones came first.

Sending again on a timer alone would flood a queue that is merely long. Duplicates are harmless, floods are not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery

from agentq.runtime.dispatch.depths import depths
from agentq.runtime.dispatch.message import DISPATCH_HEADER, PRIORITY_HEADER
from agentq.runtime.find import engine_of


class LostMessages:
    """The evidence of lost messages that a worker has: empty queues, and messages that came before older ones."""

    def __init__(self, app: Celery, tolerance: float) -> None:
        self._app = app
        self._tolerance = timedelta(seconds=tolerance)
        self._latest: dict[str, dict[int | None, int]] = {}

    def note_received(self, request: Any) -> None:
        """Note when the job of a received message was dispatched; cheap, called for every message."""
        dispatched_at = request.request_dict.get(DISPATCH_HEADER)
        if isinstance(dispatched_at, int):
            lanes = self._latest.setdefault(str(request.delivery_info.get("routing_key")), {})
            priority = request.request_dict.get(PRIORITY_HEADER)
            lanes[priority] = max(lanes.get(priority, 0), dispatched_at)

    def empty(self, queues: list[str]) -> set[str]:
        """Return those queues of which the broker has no messages, and takes some; none while it is away."""
        dispatcher = engine_of(self._app).dispatcher
        try:
            usable = [queue for queue in queues if dispatcher.takes(queue)]
            return {name for name, depth in depths(self._app, usable).items() if depth == 0}
        except Exception as error:  # each transport raises its own
            dispatcher.broker.note_away(error)
            return set()

    def overtaken_before(self, queue: str) -> dict[int | None, datetime]:
        """Return, by priority, the time before which every message of the queue should have come by now."""
        lanes = self._latest.get(queue, {})
        return {
            priority: datetime.fromtimestamp(latest / 1000, UTC) - self._tolerance
            for priority, latest in lanes.items()
        }
