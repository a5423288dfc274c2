"""One event loop per process for ``async def`` steps, so that their clients and pools can be kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import logging
import os
import threading
import traceback
import uuid
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

from agentq.policies.errors.untrusted import is_a
from agentq.runtime.attempt import running
from agentq.runtime.attempt.forked import end_if_forked
from agentq.runtime.bridge.shared_loop import SharedLoop

leave: ContextVar[Callable[[concurrent.futures.Future[Any]], None] | None] = ContextVar("leave", default=None)
"""The caller's wait for a coroutine that does not block its thread: returns when the future is done."""
logger = logging.getLogger(__name__)


class Stopped(BaseException):
    """A pool stops what runs, as if its process were killed: nothing may record an outcome on the way out."""


_step: ContextVar[_Step | None] = ContextVar("step", default=None)
_lock = threading.Lock()
_futures: dict[uuid.UUID, concurrent.futures.Future[Any]] = {}
_loops: dict[int, SharedLoop] = {}


class _Step:
    """The task of a step's coroutine; the context of all tasks that the step starts has it too."""

    def __init__(self) -> None:
        self.task = asyncio.current_task()
        attempt = running.attempt.get()
        self.name = None if attempt is None else attempt.step
        self.ended_by: BaseException | None = None

    def end(self, error: BaseException) -> None:
        """End the attempt with an error that one of its background tasks raised."""
        if self.task is not None and not self.task.done() and self.ended_by is None:
            self.ended_by = error
            self.task.cancel()


class _Contained(Exception):
    """Carries an error past the event loop, which SystemExit and KeyboardInterrupt would end for all steps."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)  # not its words: they are the step's code, and may raise
        self.error = error


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether a step's or a task's function is ``async def``."""
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def resolve(value: Any, timeout: float | None, hard_timeout: float | None, job_id: uuid.UUID) -> Any:
    """Return *value*, or what it returns where it is a coroutine, within *timeout* seconds.

    Raises SoftTimeLimitExceeded where it took longer, and CancelledError where the job was cancelled; the
    coroutine is cancelled then, and also when the waiting thread is interrupted. Over its time it is waited for,
    so that it can save its work; not over *hard_timeout* seconds, when TimeLimitExceeded is raised.
    """
    if not inspect.isawaitable(value):
        return value
    future = asyncio.run_coroutine_threadsafe(_bounded(value, timeout, hard_timeout), _loop())
    _futures[job_id] = future
    try:
        if (wait := leave.get()) is not None:
            wait(future)
        return _result(future, timeout)
    except _Contained as contained:
        error = contained.error
    except BaseException:
        future.cancel()
        raise
    finally:
        _futures.pop(job_id, None)
    raise error


def cancel(job_id: uuid.UUID) -> bool:
    """Cancel the coroutine of a job; False where this process runs none."""
    future = _futures.get(job_id)
    return future is not None and future.cancel()


def _result(future: concurrent.futures.Future[Any], timeout: float | None) -> Any:
    try:
        return future.result()
    except SoftTimeLimitExceeded:
        if timeout is None or future.done():
            raise
        # The prefork pool's limit, shortly before the loop's own. Not the end: the coroutine may save, and
        # one that keeps the loop from all others must go with its process, at the hard limit.
        return future.result()


async def _bounded(awaitable: Any, timeout: float | None, hard_timeout: float | None) -> Any:
    if hard_timeout is None:
        return await _softly_bounded(awaitable, timeout)
    task = asyncio.ensure_future(_softly_bounded(awaitable, timeout))
    try:
        done, _ = await asyncio.wait({task}, timeout=hard_timeout)
    finally:
        task.cancel()  # and left alone: one that does not end then must not keep its job
    if not done:
        raise TimeLimitExceeded(hard_timeout)
    return task.result()


async def _softly_bounded(awaitable: Any, timeout: float | None) -> Any:
    try:
        async with asyncio.timeout(timeout) as limit:
            return await _contained(awaitable)
    except TimeoutError:
        if limit.expired():  # the same as a synchronous step gets
            raise SoftTimeLimitExceeded(timeout) from None
        raise


async def _contained(awaitable: Any) -> Any:
    """Await a step's coroutine; every error that asyncio gives a meaning of its own leaves it as _Contained."""
    step, parent = _Step(), os.getpid()
    _step.set(step)
    try:
        result = await awaitable
    except BaseException as error:
        end_if_forked(parent, error)
        if step.ended_by is None and _is_of_loop(step, error):
            raise
        raise _Contained(step.ended_by or error) from None
    finally:
        _loops[parent].restore()
    end_if_forked(parent)
    if step.ended_by is not None:
        raise _Contained(step.ended_by)  # though the step caught the exception
    return result


def _is_of_loop(step: _Step, error: BaseException) -> bool:
    """Say whether asyncio takes an error for what it is: a cancel of the job, or an error like any other."""
    if is_a(error, asyncio.CancelledError):
        return step.task is not None and step.task.cancelling() > 0
    # One of concurrent.futures, asyncio would take for a cancel of the job.
    return is_a(error, Exception) and not is_a(error, concurrent.futures.CancelledError)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    """Return a task in which SystemExit and KeyboardInterrupt end the step that started it, and not the loop."""

    async def run() -> Any:
        try:
            return await coroutine
        except (SystemExit, KeyboardInterrupt) as error:
            step = _step.get()
            if step is not None:
                step.end(error)
            raise _Contained(error) from None

    return asyncio.Task(run(), loop=loop, **options)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop; again, where a callback of a step raised what asyncio lets end it."""
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException as error:
            step = _step_of_callback(error)
            whose = "an async step that is over" if step is None else f"step {step.name}, which ends with it"
            logger.error("a callback of %s, raised %s; other steps go on", *(whose, type(error).__name__))
            if step is not None:
                step.end(error)


def _step_of_callback(error: BaseException) -> _Step | None:
    """Return the step whose callback ended the event loop; asyncio has it only in the traceback."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        handle = frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            context: Context | None = getattr(handle, "_context", None)
            return None if context is None else context.get(_step)
    return None


def _loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()  # a loop of the parent's does not run in a forked child
    with _lock:
        if pid not in _loops:
            _loops[pid] = SharedLoop(asyncio.new_event_loop(), _task)
            threading.Thread(target=_run, args=[_loops[pid].loop], name="agentq-loop", daemon=True).start()
        return _loops[pid].loop
