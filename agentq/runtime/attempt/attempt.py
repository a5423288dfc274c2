"""One attempt at a job, in named steps: claim, run, record and hand over, dispatch."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_task

from agentq.exceptions import (
    BacklogFull,
    InvalidArguments,
    LedgerError,
    LedgerUnavailable,
    NotRecorded,
)
from agentq.job_log import JobLog, job_log
from agentq.ledger import attempts, holds, knowledge, moves
from agentq.ledger import naming as ledger_naming
from agentq.ledger.on_complete import CompletionFailed
from agentq.ledger.records import Claim, Dispatch
from agentq.outcomes import Cancelled, Fail, Outcome, RetryLater, Succeed
from agentq.policies.errors.untrusted import classed, is_stop
from agentq.runtime.attempt import naming, other_release, running
from agentq.runtime.attempt.after_failure import outcome_of_error
from agentq.runtime.attempt.call import Call
from agentq.runtime.attempt.forked import end_if_forked
from agentq.runtime.attempt.lease import current_lease
from agentq.runtime.dispatch.early import PAUSES, EarlyDispatch
from agentq.runtime.log import job_outcomes
from agentq.runtime.refused import refusals
from agentq.states import RUNNABLE, JobKind, JobStatus

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

T = TypeVar("T")

_UNDISPATCHED = 1.0
"""Seconds after which an unclaimed job may be one that a dead worker did not dispatch."""


class AttemptRunner:
    """The attempt that one message asks for, in the process that runs it."""

    def __init__(
        self,
        engine: Engine,
        job_id: uuid.UUID,
        step: str | None,
        hard_timeout: float | None = None,
        early_after: uuid.UUID | None = None,
        sent_to: str | None = None,
        pays: bool = False,
    ) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._job_id = job_id
        self._step = step
        self._hard_timeout = hard_timeout
        self._early_after = early_after
        self._sent_to = sent_to
        self._pays = pays
        self._unfit: InvalidArguments | other_release.Misfit | None = None
        """The error for which the limits of the job cannot be named: its attempt does not run the step."""

    def run(self) -> dict[str, Any]:
        """Run the attempt from its claim to its dispatch; returns a line for Celery's log and Flower.

        Raises AttemptFailed where the step failed for good, and Celery's Retry where it is tried again, so
        that Celery's events say the same as the ledger; LeftForLive where the main process is to send it on.
        """
        self._lease = current_lease()
        if self._lease.wait_until_valid() is None:
            self._log().info("is not taken, as this worker stops: it stays queued for others")
            return {"dropped": JobStatus.QUEUED}
        claim = self._claim()
        if claim is None and self._early_after is not None:
            claim = self._claim_when_handed_over()
        found = None if claim is not None else self._status()
        if found is not None and found.status == JobStatus.QUEUED and found.pays != self._pays:
            self._pays = found.pays  # the message says otherwise, or was sent by a release that says nothing
            claim, found = self._claim(), self._status()
        if claim is None and self._is_unnamed(found):
            claim, found = self._claim_named(), self._status()
        if claim is None:
            return self._drop(found)
        outcome = self._execute(claim)
        early = EarlyDispatch(self._engine.dispatcher, self._dispatch_of_next(claim))
        try:
            is_accepted = self._record(claim, outcome, early)
        except (CompletionFailed, NotRecorded) as failed:
            outcome = self._fail(claim, failed.error if isinstance(failed, CompletionFailed) else failed)
            is_accepted = self._record(claim, outcome, early)
        if not is_accepted and claim.limits:
            self._free_kept(claim)
        return job_outcomes.log_outcome(self._log(claim), claim, outcome, is_accepted)

    def _claim(self) -> Claim | None:
        worker_id, token = self._lease.worker_id, moves.new_claim_token()

        def claim() -> Claim | None:
            self._lease.wait_until_valid()  # which may have ended while it waited for the ledger
            return self._ledger.write_statement(
                lambda tx: attempts.claim(
                    tx,
                    self._job_id,
                    self._step,
                    worker_id,
                    token,
                    self._early_after,
                    self._sent_to,
                    self._pays,
                    self._unfit is not None,
                )
            )

        return self._until_answered(claim, "to be taken", is_over=lambda: self._lease.is_ending)

    def _is_unnamed(self, found: Any) -> bool:
        """Say whether the limits of the job, as it was *found*, are to be named by this message."""
        if found is None or found.status != JobStatus.QUEUED or not found.is_unnamed:
            return False
        return found.step == self._step and self._sent_to in (None, found.queue)

    def _claim_named(self) -> Claim | None:
        """Name the limits of the job; claim it where it has none, or where they cannot be named."""
        job = self._until_answered(
            lambda: self._ledger.read(lambda connection: ledger_naming.find_unnamed(connection, self._job_id)),
            "to have its limits named",
            is_over=lambda: self._lease.is_ending,
        )
        if job is None:
            return None
        try:
            limits = naming.limits_of(self._engine, job)
        except (InvalidArguments, other_release.Misfit) as unfit:
            self._unfit = unfit
            return self._claim()
        status = self._until_answered(
            lambda: self._ledger.write(lambda tx: ledger_naming.name_limits(tx, job, limits)),
            "to have its limits named",
            is_over=lambda: self._lease.is_ending,
        )
        # Without limits it is claimed; also where this process did not learn that it was first.
        found = None if status == JobStatus.BLOCKED else self._status()
        if found is None or found.status != JobStatus.QUEUED or found.is_unnamed:
            return None
        self._pays = found.pays
        return self._claim()

    def _until_answered(
        self,
        work: Callable[[], T],
        what_for: str,
        claim: Claim | None = None,
        is_over: Callable[[], bool] | None = None,
    ) -> T:
        """Do *work* with the ledger again and again while that does not answer.

        Until *is_over*, which is when the worker has signed off where nothing else is said. Logged once, and
        only where the worker's main process has not logged an outage; at the first time it may still do so.

        It is guarded, so it does nothing where another worker has taken the job.
        """
        is_first, is_reported = True, False
        while True:
            try:
                return work()
            except LedgerUnavailable as error:
                if is_over() if is_over is not None else self._lease.is_closed:
                    raise
                level = logging.DEBUG if is_first or is_reported or self._lease.is_cut_off else logging.WARNING
                self._log(claim).log(level, "waits for the ledger %s: %s", what_for, error)
                is_first, is_reported = False, is_reported or level == logging.WARNING

    def _claim_when_handed_over(self) -> Claim | None:
        """Claim again: the early message may have come before the very statement of the hand-over."""
        for pause in PAUSES:
            found = self._status()
            if found is None or found.status not in (JobStatus.WAITING, JobStatus.QUEUED):
                return None
            time.sleep(pause)
            claim = self._claim()
            if claim is not None:
                return claim
        return None

    def _status(self) -> Any:
        return self._ledger.read_statement(lambda connection: attempts.status_of(connection, self._job_id))

    def _execute(self, claim: Claim) -> Outcome:
        self._began_at, process = time.monotonic(), os.getpid()
        self._running = running.Running(claim.step, claim.attempt - claim.attempts_before - claim.uncounted - 1)
        before = running.attempt.set(self._running)
        call = Call(self._engine, claim, self._running, self._hard_timeout, self._until_answered)
        try:
            if claim.begins_in > 0:
                time.sleep(claim.begins_in)  # its start is paid for then
            if self._unfit is not None:
                raise self._unfit
            outcome = call.run()
            end_if_forked(process)
            if self._running.asked is not None:
                raise self._running.asked
            return outcome
        except self._engine.passed_on:
            raise
        except (other_release.UnknownTask, other_release.Misfit) as unfit:
            return self._leave(claim, unfit)
        except BaseException as error:  # none of a step may end its worker
            end_if_forked(process, error)
            return self._fail(claim, classed(error))
        finally:
            running.attempt.reset(before)
            _twice_if_late(call.close)

    def _leave(self, claim: Claim, unfit: other_release.Unfit) -> Outcome:
        read = partial(
            self._ledger.read,
            lambda connection: (
                attempts.left_before(connection, claim, unfit.error_class),
                knowledge.live(connection),
            ),
            wait_timeout=self._engine.settings.lease,
        )
        seen, live = self._until_answered(read, "its outcome")
        left = other_release.leave(unfit, claim, seen, live, self._engine.settings.release_grace)
        return left or self._fail(claim, unfit.error)

    def _fail(self, claim: Claim, error: BaseException) -> RetryLater | Fail | Cancelled:
        if is_stop(error):
            raise error  # the worker is being stopped: its caretaker gives the job back
        decide = partial(self._decide, claim, error, took=time.monotonic() - self._began_at)
        return self._until_answered(partial(_twice_if_late, decide), "to record its outcome", claim)

    def _decide(self, claim: Claim, error: BaseException, took: float) -> RetryLater | Fail | Cancelled:
        override = self._ledger.read(
            lambda connection: attempts.workflow_policy(connection, claim.workflow_id),
            wait_timeout=self._engine.settings.lease,  # as for recording: the failure must not be taken for a loss
        )
        # The claim's times are the database's; what passed since, this machine knows.
        left = None
        if claim.deadline_at is not None:
            left = (claim.deadline_at - claim.started_at).total_seconds() - took
        # A cap that is full has no provider, whatever else its error is taken for.
        is_cap = isinstance(error, BacklogFull)
        cools = () if is_cap else tuple(filter(self._engine.cools, claim.limits or ()))
        return outcome_of_error(claim, error, override=override, left=left, running=self._running, cools=cools)

    def _dispatch_of_next(self, claim: Claim) -> Dispatch | None:
        if claim.successor is None:
            return None
        # By the ledger's clock, and not ahead of it.
        took = timedelta(seconds=time.monotonic() - self._began_at)
        return replace(claim.successor, dispatched_at=claim.started_at + took)

    def _record(self, claim: Claim, outcome: Outcome, early: EarlyDispatch) -> bool:
        record = partial(self._record_once, claim, outcome, early)
        return self._until_answered(partial(_twice_if_late, record), "to record its outcome", claim)

    def _record_once(self, claim: Claim, outcome: Outcome, early: EarlyDispatch) -> bool:
        wait_timeout = self._engine.settings.lease
        is_together = isinstance(outcome, Succeed) and outcome.on_complete
        used = self._running.used
        one_statement = attempts.is_one_statement(claim, outcome, used)
        alone = self._ledger.write_statement if one_statement else self._ledger.write
        write = self._ledger.write_with_application if is_together else alone
        try:
            return write(
                lambda tx: attempts.record(tx, claim, outcome, early.while_executing, used),
                wait_timeout=wait_timeout,
                publish=early.publish_rest,
            )
        except (CompletionFailed, LedgerUnavailable, SoftTimeLimitExceeded):
            raise
        except Exception as error:
            if is_together and isinstance(error, LedgerError):
                raise CompletionFailed(error) from error  # such as a constraint that is checked by the commit
            self._log(claim).debug("its outcome could not be recorded", exc_info=True)
            raise NotRecorded(_not_recorded(claim, outcome, error)) from None

    def _free_kept(self, claim: Claim) -> None:
        """Free the slots that a lost attempt keeps: its code has ended. Else they are freed at their time."""
        with suppress(LedgerError):
            holds.free_all_of(self._ledger, claim.job_id, claim.attempt)

    def _drop(self, found: Any) -> dict[str, Any]:
        """Return why the job, as it was *found*, is not to be run now; publish jobs that a dead worker did not."""
        if found is None or (found.kind != JobKind.TASK and found.step != self._step):
            what = "does not exist" if found is None else f"is of step {found.step!r}"
            return self._refuse(f"a message for step {self._step!r} names job {self._job_id}, which {what}")
        if found.status == JobStatus.SUCCEEDED:
            self._redispatch_successors()
        log = job_log(logger, found.step, self._job_id)
        if found.kind not in RUNNABLE:
            if self._lease.is_first_to_log(f"kind {found.kind}"):
                log.warning("is of kind %r, which only a newer release of agentq runs", found.kind)
            return {"dropped": found.status}
        if found.status == JobStatus.QUEUED and self._sent_to not in (None, found.queue):
            log.info("was moved to queue %r: message dropped", found.queue)
            return {"dropped": found.status}
        if found.status == JobStatus.BLOCKED:
            log.debug("waits for a limit: message dropped")
            return {"dropped": found.status}
        when = "yet" if found.status == JobStatus.WAITING else "already"
        log.info("is %s %s: message dropped", found.status, when)
        return {"dropped": found.status}

    def _redispatch_successors(self) -> None:
        grace = min(_UNDISPATCHED, self._engine.settings.redispatch_after)
        if self._ledger.read(lambda connection: attempts.queued_successors(connection, self._job_id)):
            self._ledger.write(lambda tx: attempts.redispatch_successors(tx, self._job_id, grace))

    def _refuse(self, why: str) -> dict[str, Any]:
        refusals.refuse_current(self._engine, why)
        return {"refused": why}

    def _log(self, claim: Claim | None = None) -> JobLog:
        """Return the job's log; without its claim, nothing is known of it but what the message says."""
        if claim is None:
            return job_log(logger, self._step or str(getattr(current_task.request, "shadow", None)), self._job_id)
        ids = {"workflow_id": str(claim.workflow_id), "tenant": claim.tenant}
        return job_log(logger, claim.step, claim.job_id, claim.attempt, **ids)


def _twice_if_late(work: Callable[[], T]) -> T:
    """Do what follows the step; once more where the soft limit, which comes once, came in the middle of it."""
    try:
        return work()
    except SoftTimeLimitExceeded:
        return work()


def _not_recorded(claim: Claim, outcome: Outcome, error: Exception) -> str:
    end = "returned" if isinstance(outcome, Succeed) else "ended"
    return (
        f"step {claim.step!r} {end}, but agentq could not record it ({type(error).__name__}: {error}); "
        "fix the cause, then replay the job, which runs the step again, or resolve its dead letter by hand"
    )
