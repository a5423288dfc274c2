"""Steps with rates, which note when they start; ``-I tests.runtime.rate_steps``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agentq import Concurrency, Context, Rate, Tokens, step

CALLS, PER = 100, 25.0
"""The rate of ``call``: one each quarter of a second, and up to three at once."""
FAST = 50
"""The rate of ``call_fast`` in a second."""
TOKENS, COST = 2_000, 50
"""The tokens of ``ask`` in five seconds, and those of each."""


@step(limits=[Rate("real-calls", limit=CALLS, per=PER, burst=3)])
def call(folder: str) -> None:
    _note(folder)


@step(limits=[Rate("real-fast", limit=FAST, per=1)])
def call_fast(folder: str) -> None:
    _note(folder)


@step(
    limits=[
        Concurrency("real-llm", limit=3),
        Tokens("real-llm", limit=TOKENS, per=5, burst=4 * COST, estimate="tokens"),
    ]
)
def ask(ctx: Context, folder: str, tokens: int = COST) -> None:
    _note(folder)
    ctx.used(tokens=tokens)


def _note(folder: str) -> None:
    file = os.open(Path(folder, "starts"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{time.time()}\n".encode())
    os.close(file)


def starts(folder: Path) -> list[float]:
    """Return the times of all starts, in seconds since 1970."""
    return sorted(map(float, (folder / "starts").read_text().split()))
