"""The caretaker: it runs in every worker and keeps the ledger moving. Any number may run, without a leader.

Four threads in the worker's main process. One renews the lease and does nothing else, so that nothing can delay
it. One watches the lease by the machine's own clock, and ends the running steps before it ends. One does the
duties, and one admits jobs of limits with a rate, each at its time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, cast

from celery import Celery, signals

from agentq.exceptions import LedgerError, LedgerUnavailable
from agentq.ledger import losses, workers
from agentq.ledger.caretaking import rescues
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.refused_messages import Refusal
from agentq.outcomes import Failure
from agentq.runtime.attempt.lease import Lease
from agentq.runtime.bridge import configuration
from agentq.runtime.caretaker.duties import Duties
from agentq.runtime.caretaker.knowledge import knowledge_of
from agentq.runtime.caretaker.reserved import Reserved
from agentq.runtime.find import engine_of
from agentq.runtime.log import greeting
from agentq.runtime.log.outage import Outage
from agentq.runtime.refused.raw_message import RawMessage

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

_CUT_OFF = "this worker's lease could not be renewed, so it takes no jobs until it is: %s"
_RENEWED = "this worker's lease is renewed again after %.0f s: it takes jobs, and what waited is recorded"
_STEPS_GO_ON = "Steps go on until then, and their outcomes are recorded when the ledger is back."
_STEPS_END = (
    "Steps are stopped before the lease ends, and their jobs given back at no cost, "
    "unless it says by then that it is away for all."
)
_LATE = 0.5
"""Seconds: woken later than this after the end of its lease, the worker was frozen rather than cut off."""


class Caretaker:
    """One worker's caretaker."""

    def __init__(self, engine: Engine, worker: Any) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._hostname = str(worker.hostname)
        self._lease = Lease.open(engine.settings.lease)
        self._reserved = Reserved(worker)
        self.duties = Duties(engine, self._lease, self._reserved, self.renew)
        self._ending = threading.Event()
        self._outage = Outage(logger, _CUT_OFF, _RENEWED)
        self._known_to_ledger: Knowledge | None = None
        self._threads = [
            threading.Thread(target=self._renew_always, name="agentq-lease", daemon=True),
            threading.Thread(target=self._watch_always, name="agentq-watch", daemon=True),
            threading.Thread(target=self._work_always, name="agentq-caretaker", daemon=True),
            threading.Thread(target=self._pace_always, name="agentq-pacer", daemon=True),
        ]

    @property
    def worker_id(self) -> uuid.UUID:
        """The id of this worker, fresh at every start."""
        return self._lease.worker_id

    def start(self) -> bool:
        """Begin; returns whether the ledger answers. Raises SchemaMismatch where its schema is not this code's."""
        is_ledger_there = True
        for problem in configuration.problems(self._engine.app):
            logger.warning("%s", problem)
        try:
            self._engine.ensure_ledger()
        except LedgerUnavailable as error:
            is_ledger_there = False
            self._note_not_renewed(error)
        signals.task_received.connect(self._note_received, weak=False)
        for thread in self._threads:
            thread.start()
        return is_ledger_there

    def stop_claiming(self) -> None:
        """Let no claim wait for the ledger any longer: the worker is being stopped."""
        self._lease.note_ending()

    def note_ended(self, job_id: uuid.UUID, why: Failure) -> None:
        """Note that an attempt at the job ended here without an outcome: its rescue need not wait."""
        self._reserved.note_ended(job_id, why)

    def note_revoked(self, job_id: uuid.UUID, terminate: bool) -> None:
        """Note that a job was revoked through Celery, as Flower's button does."""
        self._reserved.note_revoked(job_id, terminate)

    def refuse(self, raw_message: RawMessage, refusal: Refusal, error: BaseException | str) -> None:
        """Note a message that no worker can take; written with the next round, not by the thread that consumes."""
        self.duties.refusals.add(raw_message, refusal, error)

    def end(self, *, is_cold: bool = False) -> None:
        """Give back at once what the pool did not finish, and sign off.

        Where it *is_cold*, there may be much of that: a ledger that is away is waited for as long as a lease.
        """
        if self._ending.is_set():
            return
        self._ending.set()
        self._reserved.changed.set()
        self.duties.pacer.wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=self._engine.settings.ledger_timeout)
        try:
            wait_timeout = self._lease.seconds if is_cold else None
            given_back = self._ledger.write(
                lambda tx: rescues.release_all(tx, self.worker_id), wait_timeout=wait_timeout
            )
            self._ledger.write(lambda tx: workers.sign_off(tx, self.worker_id))
            self.duties.unfit_jobs.give_back()
            self.duties.write_refused()
            greeting.log_end(self._hostname, given_back)
        except LedgerError as error:
            logger.error(
                "this worker could not sign off, so what it ran waits for the end of its lease: %s", error
            )
        self._lease.close()

    def renew(self) -> bool:
        """Renew the lease once; False where the ledger did not let it."""
        sent_at = time.monotonic()
        knows = knowledge_of(self._engine)
        try:
            self._ledger.write_statement(
                lambda tx: workers.register(
                    tx,
                    self.worker_id,
                    hostname=self._hostname,
                    pid=os.getpid(),
                    lease=self._lease.seconds,
                    knows=None if knows == self._known_to_ledger else knows,
                ),
                wait_timeout=0,
            )
        except LedgerError as error:
            self._note_not_renewed(error)
            return False
        self._lease.renewed(sent_at)
        self._outage.end()
        self._known_to_ledger = knows
        return True

    def _note_not_renewed(self, error: LedgerError) -> None:
        self.duties.settle()
        # A statement that was refused is an answer too.
        is_away = not isinstance(error, LedgerUnavailable) or error.is_down
        self._lease.note_not_renewed(is_away)
        self._outage.begin(f"{error} {_STEPS_GO_ON if is_away else _STEPS_END}")

    def _note_received(self, request: Any = None, **_: Any) -> None:
        self.duties.lost_messages.note_received(request)

    def _renew_always(self) -> None:
        interval = self._lease.seconds / 3
        while not self._ending.is_set():
            pause = interval if self.renew() else min(1.0, interval)
            self._ending.wait(pause)

    def _watch_always(self) -> None:
        has_given_up = False
        while not self._ending.wait(max(0.05, self._lease.valid_for())):
            left = self._lease.valid_for()
            if left > 0 or not self._lease.was_valid:
                has_given_up = False
                continue
            # Once: what comes later has not claimed, and waits until the lease is valid again.
            if has_given_up or self._lease.is_away:
                continue
            if left < -_LATE and not self._ending.wait(1.0) and self._lease.valid_for() > 0:
                continue  # it was frozen, and has renewed now: the duties find which of its jobs it has lost
            has_given_up = True
            for request, job_id in self._reserved.running().items():
                self._reserved.note_ended(job_id, losses.GIVEN_UP)
                self._reserved.terminate(request, "the lease could not be renewed")

    def _work_always(self) -> None:
        while not self._ending.is_set():
            self._reserved.changed.wait(self.duties.due_in())
            if not self._ending.is_set():
                self.duties.do_due()

    def _pace_always(self) -> None:
        self.duties.pacer.run(self._ending.is_set)


def caretaker_of(app: Celery) -> Caretaker | None:
    """Return the caretaker of the app's worker; None where this process is no worker's main process."""
    return cast("Caretaker | None", engine_of(app).caretaker)
