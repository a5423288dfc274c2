"""A pool for steps that wait, such as model calls: ``async def`` steps hold no thread while they wait.

``celery worker --pool=custom`` takes it from ``CELERY_CUSTOM_WORKER_POOL=agentq.pool:TaskPool``.

Celery's tracer and an attempt at a job are ordinary code that blocks. So each job of an ``async def`` step runs
them in a greenlet, on one of a few threads, and leaves its thread to others while its coroutine runs on the
process's event loop. Everything else runs in threads, as in Celery's own thread pool.
"""

from __future__ import annotations

import itertools
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import BasePool
from celery.exceptions import Terminated
from celery.utils.threads import USE_FAST_LOCALS
from kombu.asynchronous import get_event_loop

from agentq.exceptions import ConfigurationError
from agentq.ledger.db.session import keep_connections
from agentq.runtime.bridge import loop

try:
    from greenlet import greenlet
except ImportError as error:
    raise ConfigurationError(
        "the asyncio pool needs greenlet; run: pip install 'celery-agentq[asyncio]'"
    ) from error

logger = logging.getLogger(__name__)

CARRIERS = 8
"""Threads that carry the jobs of coroutines, each with one ledger call at a time. Enough to keep one interpreter
busy where a call takes up to 5 ms, and few enough for the ledger's connections."""
_FIRST_PID = 1 << 23
"""Above the process ids of any system: Celery names a running job by the id of its process."""


class Carrier:
    """A thread that takes turns: each runs a job up to its next wait."""

    def __init__(self, number: int) -> None:
        self._turns: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._is_closed = False
        threading.Thread(target=self._run, name=f"agentq-carrier-{number}", daemon=True).start()

    def give(self, turn: Callable[[], object]) -> None:
        """Take a turn soon."""
        self._turns.put(turn)

    def close(self) -> None:
        """Take no more turns."""
        self._is_closed = True

    def _run(self) -> None:
        keep_connections()
        while not self._is_closed:
            _guarded(self._turns.get())


class PoolJob:
    """One message's work in the pool, in a thread, and its report to Celery.

    Args:
        name: which task, for people.
        work: Celery's tracer, with what it traces.
        accepted, succeeded, failed: Celery's callbacks.
        ended: called after all reports.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Any],
        accepted: Callable[[int, float], Any],
        succeeded: Callable[[Any], Any],
        failed: Callable[[ExceptionInfo], Any],
        ended: Callable[[PoolJob], None],
    ) -> None:
        self.pid = next(_pids)
        self._name = name
        self._work = work
        self._accepted, self._succeeded, self._failed, self._ended = accepted, succeeded, failed, ended

    def begin(self, threads: ThreadPoolExecutor) -> None:
        """Let it run."""
        threads.submit(_guarded, self._run)

    def terminate(self, number: int | None = None) -> None:
        """Stop it, as the signal *number* would a process, where that can be done."""
        # Not raised: Celery's shutdown would end there, and a revoke would not reach the ledger.
        logger.warning("the asyncio pool cannot stop a synchronous step or task: %s ends by itself", self._name)

    def abandon(self) -> None:
        """Let nothing more come of it, as far as that can be done."""

    def _run(self) -> None:
        try:
            self._accepted(self.pid, time.monotonic())
            self._succeeded(self._work())
        except BaseException as error:
            self._failed(self._info(error))
        finally:
            self._ended(self)

    def _info(self, error: BaseException) -> ExceptionInfo:
        return ExceptionInfo((type(error), error, error.__traceback__))


class CoroutineJob(PoolJob):
    """A job that leaves its thread while its coroutine runs."""

    def __init__(self, carrier: Carrier, *given: Any) -> None:
        super().__init__(*given)
        self._carrier = carrier
        self._greenlet: Any = None
        self._awaited: Future[Any] | None = None
        self._stopped_by: int | None = None

    def begin(self, threads: ThreadPoolExecutor) -> None:
        self._carrier.give(self._start)

    def terminate(self, number: int | None = None) -> None:
        self._stopped_by = number or signal.SIGTERM
        self.abandon()

    def abandon(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()

    def _start(self) -> None:
        self._greenlet = greenlet(self._run)
        self._greenlet.switch()

    def _run(self) -> None:
        loop.leave.set(self._leave)  # of this greenlet's own context
        super()._run()

    def _leave(self, future: Future[Any]) -> None:
        """Leave the thread to other jobs until the coroutine's *future* is done."""
        self._awaited = future
        self._go_on_unless_stopped()
        future.add_done_callback(lambda _: self._carrier.give(self._greenlet.switch))
        self._greenlet.parent.switch()
        self._awaited = None
        self._go_on_unless_stopped()

    def _go_on_unless_stopped(self) -> None:
        if self._stopped_by is not None:
            raise loop.Stopped

    def _info(self, error: BaseException) -> ExceptionInfo:
        if isinstance(error, loop.Stopped):
            error = Terminated(self._stopped_by).with_traceback(error.__traceback__)
        return super()._info(error)


class TaskPool(BasePool):
    """Runs up to ``--concurrency`` jobs at once; see the module.

    Raises ConfigurationError with Celery's ``USE_FAST_LOCALS``, under which jobs of one thread would see each
    other's requests.
    """

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if USE_FAST_LOCALS:
            raise ConfigurationError("the asyncio pool cannot run with USE_FAST_LOCALS; unset it")
        self._threads = ThreadPoolExecutor(self.limit, "agentq-step")
        self._carriers: list[Carrier] = []
        self._queued: deque[PoolJob] = deque()
        self._running: dict[int, PoolJob] = {}  # Celery itself keeps only a weak reference
        self._changed = threading.Condition()

    def on_start(self) -> None:
        self._carriers = [Carrier(number) for number in range(min(CARRIERS, self.limit))]
        self._next_carrier = itertools.cycle(self._carriers)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        accept_callback: Callable[..., Any],
        callback: Callable[..., Any],
        error_callback: Callable[..., Any],
        **_: Any,
    ) -> PoolJob:
        name = f"{args[2].get('shadow') or args[0]}[{args[1]}]"
        work = partial(target, *args, **(kwargs or {}))
        given = (name, work, accept_callback, callback, error_callback, self._end)
        job = CoroutineJob(next(self._next_carrier), *given) if self._is_async(*args[:3]) else PoolJob(*given)
        with self._changed:
            self._queued.append(job)
        self._fill()
        return job

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        # In the main thread it is Celery, which acknowledges the message next, and only then stops the job itself.
        # Stopped here, the job might acknowledge in its own thread at the same time: twice ends the worker.
        job = self._running.get(pid)
        if job is not None and threading.current_thread() is not threading.main_thread():
            job.terminate(signal)

    def on_stop(self) -> None:
        while not self._is_idle(within=0.5):
            hub: Any = get_event_loop()
            if hub is not None:
                hub.fire_timers()  # the heartbeats of the connection, on which the last messages are acknowledged
        self._threads.shutdown()

    def on_terminate(self) -> None:
        for carrier in self._carriers:
            carrier.close()
        for job in list(self._running.values()):
            job.abandon()

    def _is_async(self, name: str, task_id: str, request: dict[str, Any]) -> bool:
        # A message of agentq's for a plain task has the task's name as its shadow.
        task = self.app.tasks.get(request.get("shadow") or name)
        return task is not None and loop.is_async(task.run)

    def _fill(self) -> None:
        with self._changed:
            while self._queued and len(self._running) < self.limit and self._state == self.RUN:
                job = self._queued.popleft()
                self._running[job.pid] = job
                job.begin(self._threads)

    def _end(self, job: PoolJob) -> None:
        with self._changed:
            del self._running[job.pid]
            self._changed.notify_all()
        self._fill()

    def _is_idle(self, within: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, within)


_pids = itertools.count(_FIRST_PID)


def _guarded(turn: Callable[[], object]) -> None:
    try:
        turn()
    except BaseException:
        # Celery's own callbacks, which should raise nothing: so with the traceback.
        logger.exception("the asyncio pool could not report how a job ended; its end is found soon")
