"""One event loop per process for ``async def`` steps, so that their clients and pools can be kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import os
import threading
import uuid
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded

_lock = threading.Lock()
_futures: dict[uuid.UUID, concurrent.futures.Future[Any]] = {}
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def resolve(value: Any, timeout: float | None, job_id: uuid.UUID) -> Any:
    """Return *value*, or what it returns where it is a coroutine, within *timeout* seconds.

    Raises SoftTimeLimitExceeded where it took longer, and CancelledError where the job was cancelled; the
    coroutine is cancelled then, and also when the waiting thread is interrupted. Over its time it is waited for,
    so that it can save its work.
    """
    if not inspect.isawaitable(value):
        return value
    future = asyncio.run_coroutine_threadsafe(_bounded(value, timeout), _loop())
    _futures[job_id] = future
    try:
        return _result(future, timeout)
    except BaseException:
        future.cancel()
        raise
    finally:
        _futures.pop(job_id, None)


def cancel(job_id: uuid.UUID) -> None:
    """Cancel the coroutine of a job, where this process runs one."""
    future = _futures.get(job_id)
    if future is not None:
        future.cancel()


def _result(future: concurrent.futures.Future[Any], timeout: float | None) -> Any:
    try:
        return future.result()
    except SoftTimeLimitExceeded:
        if timeout is None or future.done():
            raise
        # The prefork pool's limit, moments before the loop's own. Not the end: the coroutine may save, and
        # one that keeps the loop from everybody else must go with its process, at the hard limit.
        return future.result()


async def _bounded(awaitable: Any, timeout: float | None) -> Any:
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
