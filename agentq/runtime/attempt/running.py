"""The attempt that the current context runs: its thread, greenlet or coroutine, and what these start."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from celery.exceptions import Retry


@dataclass(slots=True)
class Running:
    """An attempt while its function runs, and the retry that Celery's own means asked for in it.

    ``retries`` counts the attempts before it, as Celery does. ``attempts`` is how many the job may have by its
    code's own word, ``final`` why that code does not try its error again, ``asked`` the
    ``self.retry(throw=False)`` whose attempt comes once the function has returned.
    ``used`` are the tokens that it has used, by the names of its limits where they differ.
    Each is None where the code said nothing.
    """

    step: str
    retries: int = 0
    attempts: int | None = None
    final: str | None = None
    asked: Retry | None = None
    used: int | Mapping[str, int] | None = None


attempt: ContextVar[Running | None] = ContextVar("attempt", default=None)
"""None outside an attempt."""
