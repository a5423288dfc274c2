"""Jobs whose step this worker does not know, such as those of a newer release: left for a worker that does."""

from __future__ import annotations

import logging
import threading
import uuid
from typing import Any

from agentq.runtime.dispatcher import BELL_HEADER, CARRIER
from agentq.runtime.excerpt import Stranger
from agentq.workflows import registry

logger = logging.getLogger(__name__)

AT_ONCE = 200
"""Jobs that are sent again together: a removed step with many jobs must not fill the queue of the others."""


class UnknownSteps:
    """The jobs whose messages this worker's consumer took in vain and its caretaker has not sent again yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[uuid.UUID, Stranger] = {}
        self._told: set[str] = set()

    def add(self, step: str, job_id: uuid.UUID, message: Stranger) -> None:
        """Note a job; for the thread that consumes, so it never waits for the ledger."""
        if step not in self._told:
            self._told.add(step)
            logger.warning(
                "this worker does not know step %r: its jobs are left for a worker that does; the first is job %s",
                *(step, job_id),
            )
        with self._lock:
            self._jobs[job_id] = message

    def jobs(self, most: int | None = None) -> list[uuid.UUID]:
        """Return the jobs that were noted, up to *most*, the first ones first."""
        with self._lock:
            return list(self._jobs)[:most]

    def take(self, jobs: list[uuid.UUID]) -> dict[uuid.UUID, Stranger]:
        """Leave *jobs* out, and return their messages."""
        with self._lock:
            return {job_id: self._jobs.pop(job_id) for job_id in jobs if job_id in self._jobs}


def job_of_unknown_step(tasks: Any, headers: Any) -> uuid.UUID | None:
    """Return the job of a message for a step that a worker with these *tasks* does not know; else None."""
    if not isinstance(headers, dict) or not isinstance(headers.get(BELL_HEADER), int):
        return None
    name = headers.get("task")
    if not isinstance(name, str) or name == CARRIER or (name in tasks and registry.find(name) is not None):
        return None
    try:
        return uuid.UUID(headers["id"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
