"""The caretaker: the part of every worker that keeps the ledger moving. Any number may run, without a leader.

Two threads in the worker's main process: one renews the lease and does nothing else, so that nothing can delay
it; the other sends what is due, rescues what was lost, rings again what the broker lost, and ends what is late.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.worker import state

from agentq.exceptions import LedgerError, LedgerUnavailable
from agentq.ledger import caretaking, workers
from agentq.ledger.transition import Overtaken
from agentq.policies.retry import AfterLoss
from agentq.runtime import configuration
from agentq.runtime.adoption import ids_of
from agentq.runtime.evidence import Evidence
from agentq.runtime.find import agentq_of
from agentq.runtime.lease import Lease

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ

logger = logging.getLogger(__name__)

_BATCH = 500
_REMEMBERED = 7 * 86_400.0
"""Seconds for which the row of a worker that is gone is kept, for people who look."""
_MOST_BATCHES = 40
_SETTLING = 5.0
"""Seconds after an outage of the ledger in which nobody is rescued: all leases look old then."""


class CaretakerStep(bootsteps.StartStopStep):
    """Celery's hook: opens the lease before the pool forks, runs the caretaker while the worker runs."""

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        agentq = agentq_of(worker.app)
        configuration.require_usable(worker.app)
        self._caretaker = agentq.caretaker = Caretaker(agentq, worker)
        signals.worker_shutdown.connect(self._end, sender=worker, weak=False)

    def start(self, worker: Any) -> None:
        self._caretaker.start()

    def terminate(self, worker: Any) -> None:
        # A cold shutdown. What is given back must not run here any more, so the pool goes first.
        if worker.pool is not None:
            worker.pool.terminate()
        self._caretaker.end()

    def _end(self, **_: Any) -> None:
        # A warm shutdown. Not in stop(): while the pool ends its last steps, the lease must be renewed.
        self._caretaker.end()


class Caretaker:
    """One worker's caretaker."""

    def __init__(self, agentq: AgentQ, worker: Any) -> None:
        settings = agentq.settings
        self._agentq = agentq
        self._ledger = agentq.ledger
        self._hostname = str(worker.hostname)
        self._lease = Lease.open(settings.lease)
        self._evidence = Evidence(agentq.app, settings.redispatch_after)
        self._backoff = AfterLoss().after
        self._unaccounted: frozenset[caretaking.Held] = frozenset()
        self._empty: set[str] = set()
        self._may_rescue_at = time.monotonic() + min(2.0, settings.lease)
        self._refused = self._refused_written = 0
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._renew_always, name="agentq-lease", daemon=True),
            threading.Thread(target=self._sweep_always, name="agentq-caretaker", daemon=True),
        ]

    @property
    def worker_id(self) -> uuid.UUID:
        """The id of this worker, fresh at every start."""
        return self._lease.worker_id

    def start(self) -> None:
        """Begin; raises SchemaMismatch where the ledger's schema is not this code's."""
        for problem in configuration.problems(self._agentq.app):
            logger.warning("%s", problem)
        try:
            self._agentq.ensure_ledger()
        except LedgerUnavailable as error:
            logger.error("%s This worker claims nothing until it does.", error)
        signals.task_received.connect(self._note_received, weak=False)
        for thread in self._threads:
            thread.start()

    def count_refused(self) -> None:
        """Count a message that was refused; written with the next sweep, not by the thread that consumes."""
        self._refused += 1

    def end(self) -> None:
        """Give back at once what the pool did not finish, and sign off."""
        if self._ending.is_set():
            return
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=self._agentq.settings.ledger_timeout)
        try:
            bells = self._ledger.write(lambda connection: caretaking.release_all(connection, self.worker_id))
            self._ledger.write(lambda connection: workers.sign_off(connection, self.worker_id))
            self._agentq.dispatcher.ring(bells)
        except LedgerError as error:
            logger.error("could not sign off, so jobs in hand wait for the end of the lease: %s", error)
        self._lease.close()

    def _note_received(self, request: Any = None, **_: Any) -> None:
        self._evidence.note_received(request)

    def _renew_always(self) -> None:
        interval = self._lease.seconds / 3
        while not self._ending.is_set():
            pause = interval if self._renew() else min(1.0, interval)
            self._ending.wait(pause)

    def _renew(self) -> bool:
        sent_at = time.monotonic()
        try:
            self._ledger.write(
                lambda connection: workers.register(
                    connection,
                    self.worker_id,
                    hostname=self._hostname,
                    pid=os.getpid(),
                    lease=self._lease.seconds,
                ),
                patience=0,
            )
        except LedgerError as error:
            logger.warning("the lease could not be renewed: %s", error)
            self._may_rescue_at = time.monotonic() + min(_SETTLING, self._lease.seconds)
            return False
        self._lease.renewed(sent_at)
        return True

    def _sweep_always(self) -> None:
        settings = self._agentq.settings
        duties: list[tuple[float, Callable[[], None]]] = [
            (settings.due_interval, self._dispatch_due),
            (min(1.0, settings.lease / 3), self._rescue_abandoned),
            (settings.redispatch_after / 2.5, self._ring_lost),
            (min(settings.lease / 3, 5.0), self._rescue_lost),
            (min(settings.lease / 3, 5.0), self._expire),
            (1.0, self._write_refused),
            (3600.0, self._forget_gone),
        ]
        due = [0.0] * len(duties)
        while not self._ending.wait(max(0.01, min(due) - time.monotonic())):
            for index, (interval, duty) in enumerate(duties):
                if time.monotonic() >= due[index]:
                    self._do(duty)
                    due[index] = time.monotonic() + interval

    def _do(self, duty: Callable[[], None]) -> None:
        if self._lease.trusted_for() <= 0:
            return
        try:
            duty()
        except Exception as error:  # the next round may succeed, and nobody else does this
            logger.warning("%s failed and is tried again: %s: %s", duty.__name__, type(error).__name__, error)

    def _dispatch_due(self) -> None:
        for _ in range(_MOST_BATCHES):
            bells = self._ledger.write(lambda connection: caretaking.dispatch_due(connection, _BATCH))
            self._agentq.dispatcher.ring(bells)
            if len(bells) < _BATCH:
                return

    def _rescue_lost(self) -> None:
        if time.monotonic() < self._may_rescue_at:
            return
        rescued = self._ledger.write(lambda connection: caretaking.rescue_lost(connection, self._backoff, _BATCH))
        self._tell(rescued, "their worker's lease is over")

    def _rescue_abandoned(self) -> None:
        """Rescue what the ledger says this worker runs, and twice in a row it does not."""
        held = self._ledger.read(lambda connection: caretaking.held_by(connection, self.worker_id))
        in_hand = _jobs_in_hand()
        unaccounted = frozenset(item for item in held if item.job_id not in in_hand)
        abandoned, self._unaccounted = unaccounted & self._unaccounted, unaccounted
        # A cold shutdown empties the worker's lists first; what it ran is given back at its end, not rescued.
        if abandoned and state.should_terminate in (None, False):
            rescued = self._ledger.write(
                lambda connection: caretaking.rescue_abandoned(
                    connection, self.worker_id, abandoned, self._backoff
                )
            )
            self._tell(rescued, "the process that ran them is gone")

    def _tell(self, rescued: caretaking.Rescued, why: str) -> None:
        for job in rescued.jobs:
            logger.warning("job %s attempt %d rescued: %s", job.job_id, job.attempt, why)
        self._agentq.dispatcher.ring(rescued.bells)

    def _ring_lost(self) -> None:
        """Send messages again where there is evidence that the broker lost them."""
        grace = self._agentq.settings.redispatch_after
        queues = self._ledger.read(lambda connection: caretaking.queues_with_unclaimed(connection, grace))
        empty = self._evidence.empty(queues) if queues else set()
        # Empty twice in a row: a message that was just taken from the queue is not lost.
        twice_empty, self._empty = empty & self._empty, empty
        for queue in queues:
            if queue in twice_empty:
                self._ring_queue(queue, None)
            else:
                for priority, before in self._evidence.overtaken_before(queue).items():
                    self._ring_queue(queue, Overtaken(priority, before))

    def _ring_queue(self, queue: str, overtaken: Overtaken | None) -> None:
        grace, in_hand = self._agentq.settings.redispatch_after, _jobs_in_hand()
        for _ in range(_MOST_BATCHES):
            bells = self._ledger.write(
                lambda connection: caretaking.ring_again(connection, queue, grace, _BATCH, overtaken, in_hand)
            )
            if bells:
                logger.warning("%d message(s) of queue %r were lost and are sent again", len(bells), queue)
            self._agentq.dispatcher.ring(bells)
            if len(bells) < _BATCH:
                return

    def _write_refused(self) -> None:
        refused = self._refused - self._refused_written
        if refused:
            self._ledger.write(lambda connection: workers.count_refused(connection, self.worker_id, refused))
            self._refused_written += refused

    def _forget_gone(self) -> None:
        self._ledger.write(lambda connection: workers.forget_gone(connection, _REMEMBERED))

    def _expire(self) -> None:
        self._ledger.write(lambda connection: caretaking.expire(connection, _BATCH))


def _jobs_in_hand() -> set[uuid.UUID]:
    """Return the jobs of all messages that this worker's main process has and has not finished."""
    for _ in range(10):
        try:
            requests = [*state.reserved_requests, *state.active_requests]
            return {ids_of(request.id)[1] for request in requests}
        except RuntimeError:  # the consumer's thread changed the set meanwhile
            continue
    raise RuntimeError("the worker's requests could not be read")
