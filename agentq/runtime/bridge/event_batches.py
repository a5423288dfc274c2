"""Worker events for Flower, sent in batches: three per job would cost the worker more than the job does."""

from __future__ import annotations

from typing import Any

_SECONDS = 0.1


class EventBatches:
    """A consumer whose events wait for 0.1 s, where Celery's flushes them at every turn of its loop."""

    _is_flush_due = False

    def on_send_event_buffered(self: Any) -> None:
        if self.hub is not None and not self._is_flush_due:
            self._is_flush_due = True
            self.hub.call_later(_SECONDS, self._flush_batch)

    def _flush_batch(self: Any) -> None:
        self._is_flush_due = False
        if self.event_dispatcher is not None:
            self.event_dispatcher.flush()
