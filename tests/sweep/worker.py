"""A real Celery worker with the solo pool, in this process, that takes its turns in an order that never varies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.exceptions import WorkerShutdown
from celery.worker import WorkController

import agentq.runtime.attempt.call as calling_module
import agentq.runtime.caretaker.duties as duties_module
import agentq.runtime.dispatch.early as early_module
from agentq import AgentQ
from agentq.runtime.attempt.reports import Reports
from tests.support.clock import Clock

_NO_TIME = 1e-9


class _PromptReports(Reports):
    """Writes a step's events at once, in the step's own thread, where its place in the order is fixed."""

    def add(self, kind: str, data: str) -> None:
        self._waiting.append((kind, data))
        self._write()


class SweptWorker:
    """One worker; ``run`` returns when *idle*, asked whenever nothing is left to do, says that all is over.

    The duties, and early messages, go by *clock*.
    """

    def __init__(self, agentq: AgentQ, clock: Clock, idle: Callable[[], bool]) -> None:
        self._agentq: Any = agentq
        self._idle = idle
        duties: Any = duties_module
        duties.time = clock
        early: Any = early_module
        early.time = clock  # a machine that is slow for a while must not publish once more
        calling: Any = calling_module
        calling.Reports = _PromptReports

    def run(self) -> None:
        """Boot, work, and shut down warmly."""
        worker: Any = WorkController(
            app=self._agentq.app,
            pool="solo",
            concurrency=1,
            hostname="swept@test",
            without_heartbeat=True,
            without_gossip=True,
            without_mingle=True,
            task_events=False,
        )
        worker.consumer.loop = self._loop
        # The work of its threads is done in this one, where its place in the order is fixed.
        self._agentq.caretaker._threads = []
        worker.start()

    def _loop(self, consumer: Any, connection: Any, task_consumer: Any, *_: Any) -> None:
        task_consumer.on_message = consumer.create_task_handler()
        task_consumer.consume()
        consumer.on_ready()
        caretaker = self._agentq.caretaker
        caretaker.renew()
        while True:
            caretaker.duties.do_due()
            if not self._work_off(consumer, connection) and self._idle():
                raise WorkerShutdown(0)

    def _work_off(self, consumer: Any, connection: Any) -> int:
        """Take message after message until there are none; returns how many."""
        count = 0
        while True:
            consumer.perform_pending_operations()
            try:
                connection.drain_events(timeout=_NO_TIME)
            except TimeoutError:
                return count
            count += 1
