"""The jobs that a worker has reserved or is running, as Celery's main process sees them."""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any

from celery.worker import state

from agentq.job_log import job_log
from agentq.outcomes import Failure
from agentq.runtime.bridge import loop
from agentq.runtime.bridge.pool_limits import pool_name
from agentq.runtime.dispatch.message import DISPATCH_HEADER
from agentq.runtime.dispatch.task_ids import ids_of

logger = logging.getLogger(__name__)


class Reserved:
    """The jobs of a worker's requests; its requests write it, its caretaker's threads read it."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._ended: dict[uuid.UUID, Failure] = {}
        self.revoked: dict[uuid.UUID, bool] = {}
        """The jobs that were revoked and are not looked up yet; True where a running step is to be stopped."""
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
        return {request: ids_of(request.id)[1] for request in active if DISPATCH_HEADER in request.request_dict}

    @property
    def is_busy(self) -> bool:
        """True if the pool runs a request, or an attempt ended here and the ledger does not know it."""
        return bool(self._ended or self.running())

    @property
    def has_processes(self) -> bool:
        """True if the pool runs each attempt in a process of its own."""
        return pool_name(getattr(self._worker, "pool", None)) == "prefork"

    def note_ended(self, job_id: uuid.UUID, why: Failure) -> None:
        """Note that the process that ran an attempt at the job brings no outcome any more."""
        self._ended.setdefault(job_id, why)  # the first word is the cause, what follows only its effect
        self.changed.set()

    def note_revoked(self, job_id: uuid.UUID, terminate: bool) -> None:
        """Note that a job was revoked, or perhaps a task that is none."""
        self.revoked[job_id] = terminate or self.revoked.get(job_id, False)
        self.changed.set()

    def ended(self) -> dict[uuid.UUID, Failure]:
        """Return the jobs whose attempts ended here without an outcome, with the causes."""
        return dict(self._ended)

    def forget_ended(self, jobs: Iterable[uuid.UUID]) -> None:
        """Forget those that the ledger has, or does not ask for."""
        for job_id in jobs:
            self._ended.pop(job_id, None)

    def unwanted_for(self, unwanted: set[Any]) -> dict[Any, float]:
        """Return for how many seconds each of the requests *unwanted* has been among them, without a gap."""
        now = time.monotonic()
        self._unwanted = {request: self._unwanted.get(request, now) for request in unwanted}
        return {request: now - since for request, since in self._unwanted.items()}

    def terminate(self, request: Any, why: str, *, level: int = logging.WARNING) -> None:
        """Kill the process that runs the request, where the pool can; cancel a coroutine anywhere.

        *level* is that of the line in the log that says so.
        """
        if request in self._terminated:
            return
        self._terminated = {known for known in self._terminated if known in state.active_requests} | {request}
        log = job_log(logger, request.name, ids_of(request.id)[1])
        log.log(level, "its step is stopped: %s", why)
        try:
            self._worker.pool.terminate_job(request.worker_pid, signal.SIGKILL)
        except NotImplementedError:
            if not loop.cancel(ids_of(request.id)[1]):
                log.warning("this pool cannot stop its step: it ends by itself, and its outcome is discarded")


def _snapshot(*sets: Any) -> list[Any]:
    for _ in range(10):
        try:
            return [request for members in sets for request in members]
        except RuntimeError:  # the consumer's thread changed the set
            continue
    raise RuntimeError("the worker's requests could not be read")
