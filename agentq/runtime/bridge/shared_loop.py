"""The event loop that the steps of a process share: what one of them does to it ends with that step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any


class SharedLoop:
    """An event loop with an executor that every step finds open, whatever the steps before it shut down.

    Args:
        loop: the event loop, which no other thread has used.
        task_factory: makes its tasks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, task_factory: Callable[..., asyncio.Task[Any]]) -> None:
        self.loop = loop
        self._task_factory = task_factory
        self._is_debug = loop.get_debug()
        self._run_in = loop.run_in_executor
        self._threads = _new_threads()
        self._set: Executor | None = None
        # Of this one object: its class is the application's choice. What a loop has shut down, it opens no more.
        own: Any = loop
        own.run_in_executor = self._run_in_executor
        own.set_default_executor = self._set_executor
        own.shutdown_default_executor = self._shut_executor_down
        own.shutdown_asyncgens = _close_no_generators
        self.restore()

    def restore(self) -> None:
        """Undo what a step has set."""
        self._set = None
        self.loop.set_task_factory(self._task_factory)
        self.loop.set_exception_handler(None)
        if self.loop.get_debug() != self._is_debug:
            self.loop.set_debug(self._is_debug)

    def _run_in_executor(self, executor: Executor | None, function: Callable[..., Any], *args: Any) -> Any:
        return self._run_in(executor or self._set or self._threads, function, *args)

    def _set_executor(self, executor: Executor) -> None:
        self._set = executor

    async def _shut_executor_down(self, timeout: float | None = None) -> None:
        """Wait for what runs in its threads, as the step asks; other steps get new ones."""
        threads, self._threads = self._set or self._threads, _new_threads()
        self._set = None
        await self._run_in(self._threads, threads.shutdown)


async def _close_no_generators() -> None:
    """Do nothing: those of the other steps would be closed too."""


def _new_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="asyncio")
