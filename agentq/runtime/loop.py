"""One event loop per process for ``async def`` steps, so that their clients and pools can be kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import threading
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

leave: ContextVar[Callable[[concurrent.futures.Future[Any]], None] | None] = ContextVar("leave", default=None)
"""How the caller waits for a coroutine where it does not block its thread: returns when the future is done."""
_lock = threading.Lock()
_futures: dict[uuid.UUID, concurrent.futures.Future[Any]] = {}
_loops: dict[int, asyncio.AbstractEventLoop] = {}


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
    except BaseException:
        future.cancel()
        raise
    finally:
        _futures.pop(job_id, None)


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
        # The prefork pool's limit, moments before the loop's own. Not the end: the coroutine may save, and
        # one that keeps the loop from everybody else must go with its process, at the hard limit.
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
            return await awaitable
    except TimeoutError:
        if limit.expired():  # the same as a synchronous step gets
            raise SoftTimeLimitExceeded(timeout) from None
        raise


def _loop() -> asyncio.AbstractEventLoop:
    pid = os.getpid()  # a loop of the parent's does not run in a forked child
    with _lock:
        if pid not in _loops:
            _loops[pid] = asyncio.new_event_loop()
            threading.Thread(target=_loops[pid].run_forever, name="agentq-loop", daemon=True).start()
        return _loops[pid]
