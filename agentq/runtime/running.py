"""The step whose attempt the current context runs: its thread, greenlet or coroutine, and what these start."""

from __future__ import annotations

from contextvars import ContextVar

step: ContextVar[str | None] = ContextVar("step", default=None)
"""The step's name; None outside an attempt."""
