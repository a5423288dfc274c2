"""The events of a running step, written in the background by a thread that exists only for steps that report."""

from __future__ import annotations

import logging
import threading
import time

from agentq.job_log import JobLog, job_log
from agentq.ledger import attempts, moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Claim
from agentq.steps.events import PROGRESS

logger = logging.getLogger(__name__)

MAX_EVENTS = 1_000
"""Events of a step's own kinds that are kept of one attempt."""
_INTERVAL = 0.5
"""Seconds between two writes of one attempt."""
_WAIT_TIMEOUT = 0.5
"""Seconds that a step's outcome may wait for the step's last event."""
_AWAY = 2.0
"""Seconds after which a ledger that does not answer is taken for away."""
_TRIES = 50
"""The tries of an event to get a number that others take too."""

Report = tuple[str, str]
"""A kind, and data as JSON text."""


class Reports:
    """The events of one attempt: the newest progress, and every other event.

    The ledger is written to at most twice a second; where it is away, or the job is lost, that is dropped.
    """

    def __init__(self, ledger: Ledger, claim: Claim) -> None:
        self._ledger = ledger
        self._claim = claim
        self._waiting: list[Report] = []
        self._events = 0
        self._has_dropped = False
        self._lock = threading.Lock()
        self._is_wanted = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, kind: str, data: str) -> None:
        """Take an event of the step; returns at once, whatever the ledger does."""
        with self._lock:
            if kind == PROGRESS:
                self._waiting = [report for report in self._waiting if report[0] != PROGRESS]
            elif self._is_one_too_many():
                return
            self._waiting.append((kind, data))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="agentq-reports", daemon=True)
                self._thread.start()
        self._is_wanted.set()

    def close(self) -> None:
        """Let what waits be written before the step's outcome is, which waits for that half a second at most."""
        if self._thread is None:
            return
        self._is_closing.set()
        self._is_wanted.set()
        self._thread.join(_WAIT_TIMEOUT)
        if self._thread.is_alive():
            self._drop("the ledger is slow")

    def _is_one_too_many(self) -> bool:
        self._events += 1
        if self._events == MAX_EVENTS + 1:
            self._log().warning("has reported %d events; further ones are dropped", MAX_EVENTS)
        return self._events > MAX_EVENTS

    def _run(self) -> None:
        while True:
            self._is_wanted.wait()
            self._is_wanted.clear()
            is_last = self._is_closing.is_set()
            try:
                self._write()
            except Exception as error:  # whatever it is: the step goes on
                self._drop(str(error))
            if is_last:
                return
            self._is_closing.wait(_INTERVAL)

    def _write(self) -> None:
        while report := self._next():
            if not self._write_one(*report):
                self._drop("another worker has the job, or it has ended")

    def _next(self) -> Report | None:
        with self._lock:
            return self._waiting.pop(0) if self._waiting else None

    def _write_one(self, kind: str, data: str) -> bool:
        job_id, attempt = self._claim.job_id, self._claim.attempt
        for tries in range(_TRIES):
            number = self._ledger.write_statement(
                lambda tx: moves.record_event(tx, job_id, attempt, kind, data), wait_timeout=_AWAY
            )
            if number is not None:
                if kind == PROGRESS:
                    self._keep_newest(number)
                return True
            if not self._ledger.read_statement(
                lambda connection: attempts.still_owns(connection, job_id, attempt)
            ):
                return False
            time.sleep(tries / 1_000)
        raise TimeoutError("too many others record events at the same time")

    def _keep_newest(self, number: int) -> None:
        self._ledger.write_statement(
            lambda tx: moves.forget_before(tx, self._claim.job_id, PROGRESS, number),
            wait_timeout=_AWAY,
        )

    def _drop(self, why: str) -> None:
        with self._lock:
            self._waiting = []
        level = logging.DEBUG if self._has_dropped else logging.WARNING
        self._has_dropped = True
        self._log().log(level, "its event is dropped, and the step goes on: %s", why)

    def _log(self) -> JobLog:
        return job_log(logger, self._claim.step, self._claim.job_id, self._claim.attempt)
