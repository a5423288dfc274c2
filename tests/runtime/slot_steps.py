"""Steps with limits that say how many bodies run at once; ``-I tests.runtime.slot_steps``."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from agentq import Concurrency, Context, step
from tests.support import gates

CALLS, ITEMS, LOOPS, HELD, NAMED, CHANGED = 3, 5, 3, 3, 3, 10
"""The slots of the limits."""
STRICT_FOR = 8.0
"""The hard timeout of the step with a strict limit."""


@step(limits=[Concurrency("calls", limit=CALLS)])
def call(folder: str) -> int:
    """Run as one of few; the first of them stop at the gate ``call``."""
    say(folder, "+")
    gates.pass_gate(folder, "call")
    say(folder, "-")
    return 1


@step(limits=[Concurrency("items", limit=ITEMS)])
def handle(item: int, folder: str) -> int:
    """Handle an item once the gate ``handle`` is open."""
    gates.pass_gate(folder, "handle")
    return item


@step
def find(items: list[str]) -> list[str]:
    """Give a list that the next step needs."""
    return items


@step
def find_one(item: str) -> str:
    """Give the key that the next step needs."""
    return item


@step(limits=[Concurrency("found", key="item", limit=NAMED)])
def handle_named(item: str, folder: str) -> str:
    """Handle an item, whose own value names its limit, once the gate ``named`` is open."""
    gates.pass_gate(folder, "named")
    return item


@step(limits=[Concurrency("loops", limit=LOOPS)])
async def call_from_a_loop(folder: str) -> int:
    """Run as one of few on an event loop, once the gate ``loop`` is open."""
    say(folder, "+")
    gates.note(folder, "loop")
    while not Path(folder, "loop.go").exists():
        await asyncio.sleep(0.05)
    say(folder, "-")
    return 1


@step(limits=[Concurrency("kept", limit=HELD)], retry="quick")
def hold(value: int, folder: str) -> int:
    """Return *value* once the gate ``hold`` is open."""
    gates.pass_gate(folder, "hold")
    return value


@step(limits=[Concurrency("searches", limit=1)])
def declare_searches() -> None:
    """Declare a limit that calls of other steps have too."""


@step(retry="quick")
def search(value: int, folder: str, ctx: Context) -> int:
    """Return *value* from a call of which one is made at once, while the gate ``search`` is closed."""
    with ctx.limit("searches", wait=60):
        gates.pass_gate(folder, "search")
    return value


@step
async def search_on_a_loop(value: int, folder: str, ctx: Context) -> int:
    """Return *value* from a call of which one is made at once; each takes a while."""
    async with ctx.limit("searches", wait=60):
        say(folder, "+")
        await asyncio.sleep(0.05)
        say(folder, "-")
    return value


@step(limits=[Concurrency("licence", limit=1, strict=True)], hard_timeout=STRICT_FOR, retry="quick")
def use_licence(value: int, folder: str) -> int:
    """Return *value* once the gate ``licence`` is open."""
    gates.pass_gate(folder, "licence")
    return value


@step(limits=[Concurrency("changed", limit=CHANGED)])
def occupy(folder: str, gate: str) -> None:
    """Run as one of some until the *gate* is open."""
    say(folder, "+")
    gates.pass_gate(folder, gate)
    say(folder, "-")


def say(folder: str, change: str) -> None:
    """Add a body, or take it away: one byte in a file, in their order."""
    file = os.open(Path(folder, "bodies"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, change.encode())
    os.close(file)


def most_at_once(folder: Path) -> int:
    """Return how many bodies ran at once, at most."""
    running = most = 0
    for change in (folder / "bodies").read_text():
        running += 1 if change == "+" else -1
        most = max(most, running)
    return most
