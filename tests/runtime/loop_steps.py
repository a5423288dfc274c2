"""Steps that set or shut down what belongs to the event loop of their process, and one that needs it whole."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from agentq import step


async def _shut_down_executor(loop: Any) -> None:
    await asyncio.to_thread(os.getpid)
    await loop.shutdown_default_executor()


async def _set_executor_and_shut_it_down(loop: Any) -> None:
    executor = ThreadPoolExecutor(1, "of-the-step")
    loop.set_default_executor(executor)
    thread = await asyncio.to_thread(threading.current_thread)
    assert thread.name.startswith("of-the-step"), "it has what it set"
    executor.shutdown()


async def _set_executor_and_let_loop_shut_it_down(loop: Any) -> None:
    loop.set_default_executor(ThreadPoolExecutor(1))
    await loop.shutdown_default_executor()


async def _stop(loop: Any) -> None:
    loop.stop()
    await asyncio.sleep(0.01)


async def _end_as_asyncio_run_does(loop: Any) -> None:
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


async def _set_task_factory(loop: Any) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no tasks here")

    loop.set_task_factory(refuse)


async def _set_exception_handler(loop: Any) -> None:
    def leave(*_: Any) -> None:
        raise SystemExit(3)

    loop.set_exception_handler(leave)


async def _set_debug(loop: Any) -> None:
    loop.set_debug(not loop.get_debug())


async def _close(loop: Any) -> None:
    try:
        loop.close()
    except RuntimeError:
        return
    raise AssertionError("it was closed")


SPOILS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "shut down executor": _shut_down_executor,
    "set executor and shut it down": _set_executor_and_shut_it_down,
    "set executor and let loop shut it down": _set_executor_and_let_loop_shut_it_down,
    "stop": _stop,
    "end as asyncio.run does": _end_as_asyncio_run_does,
    "set task factory": _set_task_factory,
    "set exception handler": _set_exception_handler,
    "set debug": _set_debug,
    "close": _close,
}


@step(retries=0)
async def spoil(how: str) -> str:
    await SPOILS[how](asyncio.get_running_loop())
    return how


@step(retries=0)
async def read_on(path: str) -> list[int]:
    """Read from a generator, half of it before there is a file *path*."""

    async def numbers() -> AsyncIterator[int]:
        for number in range(4):
            yield number

    read = []
    async for number in numbers():
        read.append(number)
        while number == 1 and not await asyncio.to_thread(os.path.exists, path):
            await asyncio.sleep(0.01)
    return read


@step(retries=0)
async def use_all() -> list[Any]:
    """Use a thread, a task, and the loop's handler of errors and its own attributes."""
    loop: Any = asyncio.get_running_loop()
    in_thread = await asyncio.to_thread(lambda: "in a thread")
    in_task = await asyncio.create_task(asyncio.sleep(0, "in a task"))
    loop.call_exception_handler({"message": "nothing is wrong"})
    return [in_thread, in_task, loop.get_debug(), loop.get_exception_handler()]
