"""Celery's request of a step, in the worker's main process: it sees the ends that a killed child cannot report."""

from __future__ import annotations

from typing import Any

from celery import signals
from celery.exceptions import Retry as CeleryRetry
from celery.worker.request import Request
from celery.worker.state import revoked

from agentq.exceptions import AttemptFailed
from agentq.ledger.losses import TIMED_OUT, WORKER_LOST
from agentq.outcomes import Failure
from agentq.policies import Category
from agentq.redaction import clean
from agentq.runtime.attempt.other_release import LeftForLive
from agentq.runtime.caretaker.caretaker import caretaker_of
from agentq.runtime.dispatch.message import STEP_ETA
from agentq.runtime.dispatch.task_ids import ids_of

_GONE = ("WorkerLostError", "SystemExit")
"""The errors that the pool brings in place of an outcome when a process ended."""


class StepRequest(Request):
    """Reports to the caretaker at once when an attempt ended without an outcome in the ledger."""

    def __init__(self, message: Any, *, headers: dict[str, Any] | None = None, **options: Any) -> None:
        headers = message.headers if headers is None else headers
        if headers.get("eta") == STEP_ETA:
            headers = {name: value for name, value in headers.items() if name != "eta"}
        super().__init__(message, headers=headers, **options)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        super().on_timeout(soft, timeout)
        if not soft:
            self._report(TIMED_OUT)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        error = exc_info.exception
        error = getattr(error, "exc", error)  # Celery's wrapper that carries a traceback
        # Of a process that is gone Celery would log a traceback of its pool: billiard and the caretaker have
        # logged it.
        is_reported = type(error).__name__ in _GONE
        returned = super().on_failure(exc_info, send_failed_event, return_ok or is_reported)
        if isinstance(error, LeftForLive):
            self._send_on(error.takes)
        elif not (self._already_cancelled or isinstance(error, (AttemptFailed, CeleryRetry))):
            self._report(_lost_by(error))
        return returned

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """Celery cancels what it runs at a cold shutdown: the job is given back at the worker's end, not lost."""
        self._already_cancelled = True  # before the pool can report the end
        super().cancel(pool, signal, emit_retry)

    def _send_on(self, takes: str) -> None:
        caretaker = caretaker_of(self.app)
        if caretaker is not None:
            caretaker.duties.unfit_jobs.leave(ids_of(self.id)[1], takes)

    def _report(self, why: Failure) -> None:
        caretaker = caretaker_of(self.app)
        if caretaker is not None:
            caretaker.note_ended(ids_of(self.id)[1], why)


def _note_revoked(sender: Any, request: Any, **_: Any) -> None:
    """Celery drops the message of a task that was revoked, and remembers: so the job is cancelled.

    It announces also the stops of the caretaker itself; those are in no memory.
    """
    if sender.Request != f"{__name__}:{StepRequest.__name__}" or request.id not in revoked:
        return
    caretaker = caretaker_of(sender.app)
    if caretaker is not None:
        caretaker.note_revoked(ids_of(request.id)[1], terminate=True)


signals.task_revoked.connect(_note_revoked)


def _lost_by(error: BaseException) -> Failure:
    if type(error).__name__ == "TimeLimitExceeded":
        return TIMED_OUT
    if type(error).__name__ in (*_GONE, "Terminated"):
        return WORKER_LOST
    text = clean(f"{type(error).__name__}: {error}", 1_000)
    message = f"its outcome could not be recorded ({text})"
    if (
        type(error).__name__ == "LedgerUnavailable"
    ):  # whether it was written before that, only a new attempt can show
        return Failure(WORKER_LOST.category, WORKER_LOST.error_class, message)
    return Failure(Category.NOT_RECORDED, "agentq.NotRecorded", message)
