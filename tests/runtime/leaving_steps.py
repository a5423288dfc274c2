"""Steps that leave by every kind of exception, or fork; imported with ``-I tests.runtime.leaving_steps``."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import agentq
from agentq import step
from tests.support.steps import add


class Framework(BaseException):
    """An exception of a framework's own, past every ``except Exception``."""


class Unclassed(Exception):
    """An error of which ``isinstance`` raises."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise LookupError("it has no class")


LEAVES: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "SystemExit of a list": lambda: SystemExit(["no"]),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "concurrent.CancelledError": concurrent.futures.CancelledError,
    "BaseExceptionGroup": lambda: BaseExceptionGroup("both", [SystemExit(1), ValueError("no")]),
    "Framework": Framework,
    "MemoryError": MemoryError,
    "Unclassed": Unclassed,
}


@step(retries=0)
def leave(how: str) -> None:
    raise LEAVES[how]()


@step(retries=0)
async def leave_later(how: str) -> None:
    await asyncio.sleep(0)
    raise LEAVES[how]()


@step(retries=0, timeout=20, hard_timeout=30)
async def leave_within_limits(how: str) -> None:
    await asyncio.sleep(0)
    raise LEAVES[how]()


@step(retries=0)
async def leave_in_background(how: str) -> None:
    """Wait for what never comes, while a task of its own leaves."""

    async def background() -> None:
        raise LEAVES[how]()

    task = asyncio.create_task(background())
    await asyncio.Event().wait()
    await task


@step(retries=0)
async def leave_in_group(how: str) -> None:
    """Let a task of a group leave, and catch the error of the group."""

    async def background() -> None:
        raise LEAVES[how]()

    with suppress(Exception):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(background())


@step(retries=0)
async def leave_in_callback(how: str) -> None:
    """Wait for what never comes, while a callback on the event loop leaves."""

    def call() -> None:
        raise LEAVES[how]()

    asyncio.get_running_loop().call_soon(call)
    await asyncio.Event().wait()


@step(retries=0)
async def leave_without_words(how: str) -> None:
    """Leave by an error whose words cannot be had."""

    class Wordless(type(LEAVES[how]())):  # type: ignore[misc]
        def __str__(self) -> str:
            raise SystemExit(4)

        __repr__ = __str__

    Wordless.__qualname__ = Wordless.__name__ = LEAVES[how]().__class__.__name__
    await asyncio.sleep(0)
    raise Wordless


@step(retries=0)
async def wait_for_gate(path: str) -> str:
    """Return once there is a file *path*."""
    while not os.path.exists(path):
        await asyncio.sleep(0.01)
    return "waited"


@step
def wait_inside(how: str) -> int:
    """Start another workflow of one step, and wait for its result."""
    started = agentq.start(add.s(1, 2))
    if how == "get":
        return started.get(timeout=30)
    return started.result(30)


@step
async def wait_inside_later(how: str) -> int:
    return await agentq.start(add.s(1, 2)).aresult(30)


@step(retries=0)
def fork(how: str) -> str:
    """Return "parent", though a child that it forked leaves the same function first, in its own way."""
    pid = os.fork()
    if pid == 0:
        if how == "raises":
            raise ValueError("of the child")
        if how == "exits":
            sys.exit(0)
        return "child"
    _, status = os.waitpid(pid, 0)
    return f"parent, child ended with {os.waitstatus_to_exitcode(status)}"


@step(retries=0)
async def fork_later(how: str) -> str:
    await asyncio.sleep(0)
    return str(fork(how))


@step
def empty_environment() -> str:
    """Empty the environment of the process, as a step does that sets up one for what it calls."""
    os.environ.clear()
    return "emptied"
