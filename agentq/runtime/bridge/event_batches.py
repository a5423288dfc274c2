"""Worker events for Flower, sent in batches: three per job would cost the worker more than the job does."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

_SECONDS = 0.1


class EventBatchStep(bootsteps.Step):
    """Celery's hook: lets events wait for 0.1 s, where Celery flushes at every turn of its loop."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._is_due = False
        if consumer.hub is not None:
            consumer.on_send_event_buffered = lambda: self._flush_soon(consumer)

    def _flush_soon(self, consumer: Any) -> None:
        if not self._is_due:
            self._is_due = True
            consumer.hub.call_later(_SECONDS, self._flush, consumer)

    def _flush(self, consumer: Any) -> None:
        self._is_due = False
        consumer._flush_events()
