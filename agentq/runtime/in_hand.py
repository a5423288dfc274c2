"""What a worker has in hand: the messages that its main process took, and the processes that run their steps."""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from typing import Any

from celery.worker import state

from agentq.outcomes import Failure
from agentq.runtime import loop
from agentq.runtime.adoption import ids_of
from agentq.runtime.dispatcher import BELL_HEADER

logger = logging.getLogger(__name__)


class InHand:
    """Asked by the caretaker's threads, told by the worker's requests."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._ended: dict[uuid.UUID, Failure] = {}
        self.revoked: set[uuid.UUID] = set()
        """Jobs whose messages somebody revoked, and that are not cancelled yet."""
        self._unwanted: dict[Any, float] = {}
        self._terminated: set[Any] = set()
        self.changed = threading.Event()
        """Set when an attempt ended without an outcome, so that its rescue need not wait."""

    def jobs(self) -> set[uuid.UUID]:
        """Return the jobs of all messages that were taken and are not finished."""
        return {ids_of(request.id)[1] for request in _snapshot(state.reserved_requests, state.active_requests)}

    def running(self) -> dict[Any, uuid.UUID]:
        """Return the requests that the pool runs, with their jobs."""
        active = _snapshot(state.active_requests)
        return {request: ids_of(request.id)[1] for request in active if BELL_HEADER in request.request_dict}

    @property
    def is_busy(self) -> bool:
        """Whether the pool runs a request, or an attempt ended without an outcome that nobody has taken yet."""
        return bool(self._ended or self.running())

    def note_ended(self, job_id: uuid.UUID, why: Failure) -> None:
        """Note that the process that ran an attempt at the job brings no outcome any more."""
        self._ended.setdefault(job_id, why)  # the first word is the cause, what follows only its effect
        self.changed.set()

    def note_revoked(self, job_id: uuid.UUID) -> None:
        """Note that somebody revoked the job's message."""
        self.revoked.add(job_id)
        self.changed.set()

    def take_ended(self) -> dict[uuid.UUID, Failure]:
        """Return what was noted since the last call."""
        ended, self._ended = self._ended, {}
        return ended

    def keep_ended(self, job_id: uuid.UUID, why: Failure) -> None:
        """Put back what was taken and cannot be used yet, before what was noted since."""
        self._ended[job_id] = why

    def unwanted_for(self, unwanted: set[Any]) -> dict[Any, float]:
        """Return for how many seconds each of the requests *unwanted* has been among them, without a gap."""
        moment = time.monotonic()
        self._unwanted = {request: self._unwanted.get(request, moment) for request in unwanted}
        return {request: moment - since for request, since in self._unwanted.items()}

    def terminate(self, request: Any, why: str) -> None:
        """Kill the process that runs the request, where the pool can; cancel a coroutine anywhere."""
        if request in self._terminated:
            return
        self._terminated = {known for known in self._terminated if known in state.active_requests} | {request}
        logger.warning("job %s: %s; its step is stopped", request.id, why)
        try:
            self._worker.pool.terminate_job(request.worker_pid, signal.SIGKILL)
        except NotImplementedError:
            if not loop.cancel(ids_of(request.id)[1]):
                logger.warning("job %s: this pool cannot stop its step; its outcome is discarded", request.id)


def _snapshot(*sets: Any) -> list[Any]:
    for _ in range(10):
        try:
            return [request for members in sets for request in members]
        except RuntimeError:  # the consumer's thread changed the set meanwhile
            continue
    raise RuntimeError("the worker's requests could not be read")
