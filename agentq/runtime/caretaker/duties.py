"""The duties of a caretaker: send due jobs, rescue lost ones, end late ones."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from celery.worker import state

from agentq.ledger import dead_letter_tasks, limits, losses, moves, postponed, workers
from agentq.ledger.caretaking import due_jobs, expiry, redelivery, rescues, take_backs
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.moves import Overtaken
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.runtime.attempt.after_failure import outcome_of_loss
from agentq.runtime.attempt.lease import Lease
from agentq.runtime.caretaker.knowledge import knowledge_of
from agentq.runtime.caretaker.lost_messages import LostMessages
from agentq.runtime.caretaker.pacer import Pacer
from agentq.runtime.caretaker.reserved import Reserved
from agentq.runtime.caretaker.ticks import DueTicks
from agentq.runtime.caretaker.unfit_jobs import UnfitJobs
from agentq.runtime.entry import revokes
from agentq.runtime.log import job_outcomes
from agentq.runtime.log.troubles import Troubles
from agentq.runtime.refused import refusals
from agentq.states import JobStatus

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BATCH = 500
_TOGETHER = 0.05
"""Seconds by which a duty may come early, to share a query of the ledger with another one."""
_MOST_BATCHES = 40
_REMEMBERED = 7 * 86_400.0
"""Seconds for which the row of a worker that is gone is kept, for people who ask for it."""
_SETTLING = 5.0
"""Seconds after an outage of the ledger in which no job is rescued: all leases look old then."""


@dataclass(slots=True)
class _Duty:
    interval: float
    do: Callable[[], None]
    work: Work | None = None
    """The work it is for; None where the ledger cannot know."""
    due_at: float = 0.0


class Duties:
    """The duties of one worker's caretaker; each one may be done at any time, by any number of workers."""

    def __init__(self, engine: Engine, lease: Lease, reserved: Reserved, renew: Callable[[], bool]) -> None:
        settings = engine.settings
        self._engine = engine
        self._ledger = engine.ledger
        self._lease = lease
        self._reserved = reserved
        self._troubles = Troubles(renew)
        self._unaccounted: frozenset[rescues.RunningAttempt] = frozenset()
        self._empty: set[str] = set()
        self._after_line = ""
        self._may_rescue_at = time.monotonic() + min(2.0, settings.lease)
        self.refusals = refusals.Refusals(settings.tenant)
        self.unfit_jobs = UnfitJobs(engine, self.refusals.add)
        self.ticks = DueTicks(engine)
        self.pacer = Pacer(self._pace)
        self.lost_messages = LostMessages(engine.app, settings.redispatch_after)
        self._cancel = _Duty(1.0, self.cancel_revoked)
        self._account = _Duty(min(1.0, settings.lease / 3), self.account_for_jobs, Work.RUNNING)
        self._pass_on = _Duty(1.0, self.pass_on)
        self._duties = [
            _Duty(settings.due_interval, self.dispatch_due, Work.DUE),
            self._cancel,
            self._account,
            _Duty(settings.redispatch_after / 2.5, self.redispatch_lost, Work.UNCLAIMED),
            _Duty(min(settings.lease / 3, 5.0), self.rescue_lost, Work.LOST),
            _Duty(1.0, self.end_overdue, Work.OVERDUE),
            _Duty(1.0, self.fill_slots, Work.SLOTS),
            _Duty(1.0, self.find_unpaced, Work.PACE),
            _Duty(10.0, self.enter_unawaited, Work.BLOCKED),
            _Duty(1.0, self.let_in, Work.POSTPONED),
            _Duty(10.0, self.take_back, Work.UNCLAIMED),
            _Duty(1.0, self.issue_dead_letters, Work.LETTERS),
            _Duty(1.0, self.write_refused),
            _Duty(settings.due_interval, self.start_ticks, Work.TICKS),
            self._pass_on,
            _Duty(10.0, self.apply_schedules),
            _Duty(3600.0, self._forget_gone),
            _Duty(3600.0, self._declare_ordered),
            _Duty(math.inf, self._redeclare_limits),
        ]

    def due_in(self) -> float:
        """Return for how many seconds nothing is to be done."""
        return max(0.01, min(duty.due_at for duty in self._duties) - time.monotonic())

    def do_due(self) -> None:
        """Do what is due and has work; a failure of one duty leaves the others to be done."""
        if self._reserved.changed.is_set():
            self._reserved.changed.clear()
            self._cancel.due_at = self._account.due_at = 0.0
        due = self._due()
        needs_look = any(duty.work is not None for duty in due)
        found = self._try(self.look_for_work) if needs_look else set()
        for duty in due:
            if found is not None and (duty.work is None or duty.work in found):
                self._try(duty.do)
        now = time.monotonic()
        for duty in due:  # of one time, so that they stay together
            duty.due_at = now + duty.interval

    def look_for_work(self) -> set[Work]:
        """Return what there is to do; on an idle ledger, this is all that a caretaker asks."""
        grace = self._engine.settings.redispatch_after
        found = self._ledger.read_statement(lambda connection: find_work(connection, self._lease.worker_id, grace))
        if Work.UNCLAIMED not in found:
            self._empty = set()
        return found | {Work.RUNNING} if self._reserved.is_busy else found

    def settle(self) -> None:
        """Rescue no job for a while: the ledger was away, so the leases of live workers may have ended too.

        For a whole lease where this worker's own one has: the others need time to be back, too.
        """
        seconds, is_over = self._lease.seconds, self._lease.valid_for() <= 0
        self._may_rescue_at = time.monotonic() + (seconds if is_over else min(_SETTLING, seconds))

    def dispatch_due(self) -> None:
        """Dispatch the jobs whose time has come, and end the sleeps that are over."""
        for _ in range(_MOST_BATCHES):
            if self._ledger.write(lambda tx: due_jobs.dispatch_due(tx, _BATCH)) < _BATCH:
                return

    def rescue_lost(self) -> None:
        """Rescue the jobs of workers whose lease is over."""
        if not self._is_settling():
            self._log_lost(self._ledger.write(self._rescue_lost))

    def _rescue_lost(self, tx: Transaction) -> list[rescues.Lost]:
        # Asked in each try: while this one waited for the ledger, leases may have ended that nobody could renew.
        return [] if self._is_settling() else rescues.rescue_lost(tx, outcome_of_loss, _BATCH)

    def _is_settling(self) -> bool:
        # A worker whose own lease is over knows nothing of others' leases, and would take its own jobs first.
        return time.monotonic() < self._may_rescue_at or self._lease.valid_for() <= 0

    def account_for_jobs(self) -> None:
        """Compare this worker's running jobs in the ledger with those it has reserved, both ways.

        Twice in a row, since a claim or an outcome may be under way; at once where a request reported its end.
        """
        ended = self._reserved.ended()
        claimed = self._ledger.read_statement(
            lambda connection: rescues.running_on(connection, self._lease.worker_id)
        )
        reserved = self._reserved.jobs()
        unaccounted = frozenset(item for item in claimed if item.job_id not in reserved)
        abandoned = {
            item: ended.get(item.job_id, losses.WORKER_LOST)
            for item in unaccounted
            if item.job_id in ended or item in self._unaccounted
        }
        self._unaccounted = unaccounted
        self._rescue_abandoned(abandoned)
        being_ended = {item.job_id for item in claimed if item.job_id in reserved}
        # Only now: where the ledger does not answer, the next round needs the causes.
        self._reserved.forget_ended(ended.keys() - being_ended)
        self._stop_unwanted({item.job_id for item in claimed})

    def cancel_revoked(self) -> None:
        """Cancel the jobs that were revoked through Celery, whose memory of it ends with the worker."""
        noted = dict(self._reserved.revoked)
        if noted:
            revokes.cancel_revoked(self._engine, noted)
        for id_, terminate in noted.items():
            if self._reserved.revoked.get(id_) == terminate:
                del self._reserved.revoked[id_]

    def redispatch_lost(self) -> None:
        """Send messages again where there is evidence that the broker lost them."""
        grace = self._engine.settings.redispatch_after
        queues = self._ledger.read_statement(
            lambda connection: redelivery.queues_with_unclaimed(connection, grace)
        )
        empty = self.lost_messages.empty(queues) if queues else set()
        # Empty twice in a row: a message that was just taken from the queue is not lost.
        twice_empty, self._empty = empty & self._empty, empty
        for queue in queues:
            if queue in twice_empty:
                self._redispatch_queue(queue, None)
            else:
                for priority, before in self.lost_messages.overtaken_before(queue).items():
                    self._redispatch_queue(queue, Overtaken(priority, before))

    def end_overdue(self) -> None:
        """End jobs and workflows whose deadline or expiry has passed."""
        for end in (expiry.end_overdue, expiry.expire):
            self._ledger.write(partial(end, most=_BATCH))
        self._ledger.write(lambda tx: expiry.cancel_overdue(tx, _BATCH))

    def fill_slots(self) -> None:
        """Admit jobs to slots that are free, where the process that freed them could not."""
        limits.fill(self._ledger)

    def let_in(self) -> None:
        """Let postponed workflows in wherever there is room, where the process that made it could not."""
        self._after_line = postponed.let_all_in(self._ledger, self._after_line)

    def find_unpaced(self) -> None:
        """Pace the limits whose jobs wait for a time, and that no other caretaker paces."""
        self.pacer.add(self._ledger.read_statement(lambda connection: moves.unpaced(connection, _BATCH)))

    def enter_unawaited(self) -> None:
        """Let lines be awaited whose jobs were started by a process that then died."""
        limits.enter_unawaited(self._ledger, self._engine.meters_of)

    def take_back(self) -> None:
        """Take their slots from jobs whose queue no worker consumes, where other jobs wait for these slots."""
        for queue, jobs in take_backs.take_back(self._ledger).items():
            logger.warning(
                "queue %r: no live worker consumes it; %d job(s) there gave slots back that others waited for",
                *(queue, jobs),
            )

    def issue_dead_letters(self) -> None:
        """Dispatch the task that records dead letters; again, for those whose message was lost."""
        queue, grace = self._engine.settings.dead_letter_queue, self._engine.settings.redispatch_after
        letters = self._ledger.write(lambda tx: dead_letter_tasks.issue_new(tx, _BATCH))
        self._engine.dispatcher.announce(letters, queue)
        late = self._ledger.read_statement(lambda connection: dead_letter_tasks.any_late(connection, grace))
        if late and self.lost_messages.empty([queue]):
            again = self._ledger.write(lambda tx: dead_letter_tasks.issue_again(tx, grace, _BATCH))
            self._engine.dispatcher.announce(again, queue)

    def write_refused(self) -> None:
        """Write the dead letters of the messages that were refused since."""
        worker_id = self._lease.worker_id
        self.refusals.write(lambda refused: self._ledger.write(lambda tx: refusals.write(tx, worker_id, refused)))

    def start_ticks(self) -> None:
        """Start the workflows of schedules of which a tick has come."""
        self.ticks.start_due()

    def apply_schedules(self) -> None:
        """Write the schedules that code declares, once: of two releases, the last to start wins."""
        self.ticks.apply_declared()

    def pass_on(self) -> None:
        """Send again the messages of jobs that this worker's code cannot run and another one's can."""
        self.unfit_jobs.pass_on()
        self._pass_on.interval = self.unfit_jobs.pause

    def _pace(self, limit: str, pause: float) -> tuple[int, float] | None:
        def pace() -> tuple[int, float] | None:
            return limits.pace(self._ledger, limit, self._lease.worker_id, pause)

        return self._try(pace)

    def _due(self) -> list[_Duty]:
        now = time.monotonic()
        if all(duty.due_at > now for duty in self._duties):
            return []
        return [duty for duty in self._duties if duty.due_at <= now + _TOGETHER]

    def _try(self, work: Callable[[], T]) -> T | None:
        if self._lease.valid_for() <= 0:
            return None
        return self._troubles.attempt(work)

    def _rescue_abandoned(self, abandoned: dict[rescues.RunningAttempt, Failure]) -> None:
        # A cold shutdown empties the worker's lists first; what it ran is given back at its end, not rescued.
        if abandoned and state.should_terminate in (None, False):
            rescued = self._ledger.write(
                lambda tx: rescues.rescue_abandoned(tx, self._lease.worker_id, abandoned, outcome_of_loss)
            )
            self._log_lost(rescued)

    def _stop_unwanted(self, claimed: set[uuid.UUID]) -> None:
        """Stop steps whose job was cancelled, failed by its deadline, or taken over by another worker."""
        unclaimed = {request for request, job_id in self._reserved.running().items() if job_id not in claimed}
        twice = {request: age for request, age in self._reserved.unwanted_for(unclaimed).items() if age > 0}
        if not twice:
            return
        running = self._reserved.running()
        jobs = {running[request] for request in twice if request in running}
        taken = self._ledger.read_statement(
            lambda connection: rescues.no_longer_owned(connection, self._lease.worker_id, jobs)
        )
        for request, age in twice.items():
            status = taken.get(running.get(request, uuid.UUID(int=0)))
            if status is not None and (status == JobStatus.RUNNING or age >= self._engine.settings.cancel_grace):
                why = "another worker runs it" if status == JobStatus.RUNNING else f"it is {status}"
                level = logging.INFO if status == JobStatus.CANCELLED else logging.WARNING  # it was asked for
                self._reserved.terminate(request, why, level=level)

    def _log_lost(self, lost: list[rescues.Lost]) -> None:
        job_outcomes.log_lost(lost, self._reserved.has_processes)

    def _redispatch_queue(self, queue: str, overtaken: Overtaken | None) -> None:
        grace = self._engine.settings.redispatch_after
        reserved, knows = self._reserved.jobs(), knowledge_of(self._engine)
        for _ in range(_MOST_BATCHES):
            again = self._ledger.write(
                lambda tx: redelivery.redispatch(tx, queue, grace, _BATCH, overtaken, reserved, knows)
            )
            if again:
                what = "a message was" if len(again) == 1 else f"{len(again)} messages were"
                logger.warning(
                    "queue %r: %s lost by the broker, and sent again now; the first for step %s, job %s",
                    *(queue, what, again[0].step, again[0].job_id),
                )
            if len(again) < _BATCH:
                return

    def _redeclare_limits(self) -> None:
        """Let the limits have the meters of this code and limits file: of two releases, the last to start wins."""
        declared, file = self._engine.declared_limits(), self._engine.limits_file
        self._ledger.write(partial(moves.redeclare, meters=declared, file=file))

    def _declare_ordered(self) -> None:
        """Enter the limits of ordered queues, also after a prune: jobs may be moved into these queues."""
        file, queues = self._engine.limits_file, self._engine.limits_of_queues()
        ordered = {name: file.meters_of(name, meters) for name, meters in queues.items()}
        if ordered:
            self._ledger.write(lambda tx: moves.declare(tx, ordered))

    def _forget_gone(self) -> None:
        self._ledger.write(lambda tx: workers.forget_gone(tx, _REMEMBERED))
