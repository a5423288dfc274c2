"""One attempt at a job, told in named steps: claim, run, record and hand over, dispatch."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from celery import current_task
from celery.exceptions import Retry as CeleryRetry
from sqlalchemy import Connection

from agentq.exceptions import (
    AttemptFailed,
    InvalidArguments,
    InvalidResult,
    InvalidValue,
    LedgerError,
    LedgerUnavailable,
    NotRecorded,
)
from agentq.job_log import JobLog, job_log
from agentq.ledger import attempts, transition
from agentq.ledger.completing import CompletionFailed
from agentq.ledger.gathering import missing_parts
from agentq.ledger.records import Bell, Claim, Handed, Left
from agentq.operations.counting import attempts_told
from agentq.outcomes import Fail, GiveUp, Leave, Outcome, RetryLater, Succeed
from agentq.policies.reading import is_stop
from agentq.runtime import job_outcomes, leaving, loop, plain_tasks, refusals, running
from agentq.runtime.children import end_if_forked
from agentq.runtime.early import PAUSES, EarlyRing
from agentq.runtime.judging import judge_error
from agentq.runtime.lease import hold
from agentq.runtime.reports import Reports
from agentq.states import JobKind, JobStatus
from agentq.workflows import registry
from agentq.workflows.context import CancelCheck, Context, MissingPart
from agentq.workflows.parameters import Parameters
from agentq.workflows.values import encode

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ

logger = logging.getLogger(__name__)

T = TypeVar("T")

_UNRUNG = 1.0
"""Seconds after which a job that nobody claimed may have been left unrung by a worker that died."""


class Attempt:
    """The attempt that one message asks for, in the process that runs it."""

    def __init__(
        self,
        agentq: AgentQ,
        job_id: uuid.UUID,
        step: str | None,
        hard_timeout: float | None = None,
        early_after: uuid.UUID | None = None,
        sent_to: str | None = None,
    ) -> None:
        self._agentq = agentq
        self._ledger = agentq.ledger
        self._job_id = job_id
        self._step = step
        self._hard_timeout = hard_timeout
        self._early_after = early_after
        self._sent_to = sent_to
        self._reports: Reports | None = None

    def run(self) -> dict[str, Any]:
        """Do it all; returns a line for Celery's log and Flower.

        Raises AttemptFailed where the step failed for good, and Celery's Retry where it is tried again, so
        that Celery's events tell the same as the ledger.
        """
        self._lease = hold()
        if self._lease.await_trust() is None:
            self._log().info("is not taken, as this worker stops: it stays queued for others")
            return {"dropped": JobStatus.QUEUED}
        claim = self._claim()
        if claim is None and self._early_after is not None:
            claim = self._claim_when_handed_over()
        if claim is None:
            return self._drop()
        outcome = self._execute(claim)
        early = EarlyRing(self._agentq.dispatcher, self._bell_of_next(claim))
        try:
            handed = self._record(claim, outcome, early)
        except (CompletionFailed, NotRecorded) as failed:
            outcome = self._fail(claim, failed.error if isinstance(failed, CompletionFailed) else failed)
            handed = self._record(claim, outcome, early)
        early.ring_rest(handed.bells)
        return self._tell(claim, outcome, handed)

    def _claim(self) -> Claim | None:
        worker_id, token = self._lease.worker_id, transition.new_claim_token()

        def claim() -> Claim | None:
            self._lease.await_trust()  # which may have ended while it waited for the ledger
            return self._ledger.write_statement(
                lambda connection: attempts.claim(
                    connection, self._job_id, self._step, worker_id, token, self._early_after, self._sent_to
                )
            )

        return self._until_answered(claim, "to be taken", is_over=lambda: self._lease.is_ending)

    def _until_answered(
        self,
        work: Callable[[], T],
        what_for: str,
        claim: Claim | None = None,
        is_over: Callable[[], bool] | None = None,
    ) -> T:
        """Do *work* with the ledger again and again while that does not answer.

        Until *is_over*, which is when the worker has signed off where nothing else is said. Told once,
        and only where the worker's main process has not told of an outage.

        It is guarded, so it does nothing where another worker has taken the job meanwhile.
        """
        is_told = False
        while True:
            try:
                return work()
            except LedgerUnavailable as error:
                if is_over() if is_over is not None else self._lease.is_closed:
                    raise
                level = logging.DEBUG if is_told or self._lease.is_cut_off else logging.WARNING
                self._log(claim).log(level, "waits for the ledger %s: %s", what_for, error)
                is_told = is_told or level == logging.WARNING

    def _claim_when_handed_over(self) -> Claim | None:
        """The bell may have come before the very statement that it was rung during."""
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
        try:
            outcome = self._run_function(claim)
            end_if_forked(process)
            return outcome
        except self._agentq.passed_on:
            raise
        except (leaving.UnknownTask, leaving.Misfit) as unfit:
            return self._leave(claim, unfit)
        except BaseException as error:  # none of a step may end its worker
            end_if_forked(process, error)
            return self._fail(claim, error)
        finally:
            running.attempt.reset(before)
            if self._reports is not None:
                _twice_if_late(self._reports.close)

    def _leave(self, claim: Claim, unfit: leaving.Unfit) -> Outcome:
        def look(connection: Connection) -> Left:
            return attempts.left_before(connection, claim, unfit.error_class)

        patience = self._agentq.settings.lease
        seen = self._until_answered(lambda: self._ledger.read(look, patience=patience), "its outcome")
        left = leaving.leave(unfit, claim, seen, self._agentq.settings.release_grace)
        return left or self._fail(claim, unfit.error)

    def _fail(self, claim: Claim, error: BaseException) -> RetryLater | Fail | GiveUp:
        if is_stop(error):
            raise error  # the worker is being stopped: its caretaker gives the job back
        judge = partial(self._judge, claim, error, took=time.monotonic() - self._began_at)
        return self._until_answered(partial(_twice_if_late, judge), "to record its outcome", claim)

    def _judge(self, claim: Claim, error: BaseException, took: float) -> RetryLater | Fail | GiveUp:
        override = self._ledger.read(
            lambda connection: attempts.workflow_policy(connection, claim.workflow_id),
            patience=self._agentq.settings.lease,  # as for recording: the failure must not be taken for a loss
        )
        # The claim's times are the database's; what passed since, this machine knows.
        left = None
        if claim.deadline_at is not None:
            left = (claim.deadline_at - claim.started_at).total_seconds() - took
        return judge_error(claim, error, override=override, left=left, running=self._running)

    def _run_function(self, claim: Claim) -> Succeed:
        args, kwargs = json.loads(claim.arguments)
        if claim.inputs is not None:
            args = [json.loads(claim.inputs), *args]
        limit = self._agentq.settings.max_value_bytes
        if claim.kind == JobKind.TASK:
            return Succeed(_encode_result(claim, self._run_plain_task(claim, args, kwargs), limit))
        step = registry.find(claim.step)
        assert step is not None, "a step's task is bound to a registered step"
        context = self._context(claim) if step.parameters.takes_context else None
        try:
            values, named = step.parameters.load(args, kwargs, context)
        except InvalidArguments as error:
            raise leaving.Misfit(error, step.parameters.digest) from None
        call = partial(_call, step.parameters, claim, self._hard_timeout)
        run = self._agentq.app.tasks[claim.step].enclosed(call)
        result = _encode_result(claim, step.parameters.dump_result(run(*values, **named)), limit)
        return Succeed(result, tuple(context.callbacks) if context is not None else ())

    def _run_plain_task(self, claim: Claim, args: list[Any], kwargs: dict[str, Any]) -> Any:
        resolve = partial(
            loop.resolve, timeout=claim.timeout, hard_timeout=self._hard_timeout, job_id=self._job_id
        )
        return plain_tasks.run(self._agentq.app, claim, args, kwargs, self._running, resolve)

    def _context(self, claim: Claim) -> Context:
        self._reports = Reports(self._ledger, claim)
        ends = [claim.started_at + timedelta(seconds=claim.timeout)] if claim.timeout else []
        ends += [claim.deadline_at] if claim.deadline_at else []
        return Context(
            workflow_id=str(claim.workflow_id),
            job_id=str(claim.job_id),
            step=claim.step,
            tenant=claim.tenant,
            attempt=claim.attempt,
            max_attempts=claim.max_attempts,
            deadline=min(ends, default=None),
            is_cancelled=CancelCheck(lambda: self._is_cancelled(claim)),
            find_missing=lambda: self._missing(claim),
            report=self._reports.add,
        )

    def _missing(self, claim: Claim) -> list[MissingPart]:
        rows = self._until_answered(
            lambda: self._ledger.read(lambda connection: missing_parts(connection, claim.job_id)),
            "to tell its step what is missing",
            claim,
        )
        return [
            MissingPart(
                row.position, str(row.job_id), row.step, row.error_category or row.status, row.error_message or ""
            )
            for row in rows
        ]

    def _is_cancelled(self, claim: Claim) -> bool:
        if self._lease.trusted_for() <= 0 and not self._lease.is_away:
            return True
        try:
            return not self._ledger.read(
                lambda connection: attempts.holds(connection, claim.job_id, claim.attempt), patience=0
            )
        except LedgerUnavailable:
            return False  # nobody can have cancelled it, as far as this worker knows

    def _bell_of_next(self, claim: Claim) -> Bell | None:
        if claim.successor is None:
            return None
        # By the ledger's clock, and not ahead of it.
        took = timedelta(seconds=time.monotonic() - self._began_at)
        return replace(claim.successor, rung_at=claim.started_at + took)

    def _record(self, claim: Claim, outcome: Outcome, early: EarlyRing) -> Handed:
        record = partial(self._record_once, claim, outcome, early)
        return self._until_answered(partial(_twice_if_late, record), "to record its outcome", claim)

    def _record_once(self, claim: Claim, outcome: Outcome, early: EarlyRing) -> Handed:
        patience = self._agentq.settings.lease
        is_together = isinstance(outcome, Succeed) and outcome.on_complete
        one_statement = attempts.is_one_statement(claim, outcome)
        alone = self._ledger.write_statement if one_statement else self._ledger.write
        write = self._ledger.write_together if is_together else alone
        try:
            return write(
                lambda connection: attempts.record(connection, claim, outcome, early.meanwhile), patience=patience
            )
        except (CompletionFailed, LedgerUnavailable, SoftTimeLimitExceeded):
            raise
        except Exception as error:
            if is_together and isinstance(error, LedgerError):
                raise CompletionFailed(error) from error  # such as a constraint that is checked by the commit
            self._log(claim).debug("its outcome could not be recorded", exc_info=True)
            raise NotRecorded(_not_recorded(claim, outcome, error)) from None

    def _drop(self) -> dict[str, Any]:
        """The job is not to be run now: say why, and ring what a dead worker may have left unrung."""
        found = self._status()
        if found is None or (found.kind != JobKind.TASK and found.step != self._step):
            what = "does not exist" if found is None else f"is of step {found.step!r}"
            return self._refuse(f"a message for step {self._step!r} names job {self._job_id}, which {what}")
        if found.status == JobStatus.SUCCEEDED:
            self._ring_successors()
        log = job_log(logger, found.step, self._job_id)
        if found.status == JobStatus.QUEUED and self._sent_to not in (None, found.queue):
            log.info("was moved to queue %r: message dropped", found.queue)
            return {"dropped": found.status}
        when = "yet" if found.status == JobStatus.WAITING else "already"
        log.info("is %s %s: message dropped", found.status, when)
        return {"dropped": found.status}

    def _ring_successors(self) -> None:
        grace = min(_UNRUNG, self._agentq.settings.redispatch_after)
        if self._ledger.read(lambda connection: attempts.queued_successors(connection, self._job_id)):
            bells = self._ledger.write(
                lambda connection: attempts.ring_successors(connection, self._job_id, grace)
            )
            self._agentq.dispatcher.ring(bells)

    def _refuse(self, why: str) -> dict[str, Any]:
        refusals.refuse_current(self._agentq, why)
        return {"refused": why}

    def _tell(self, claim: Claim, outcome: Outcome, handed: Handed) -> dict[str, Any]:
        if handed.accepted and isinstance(outcome, Succeed):
            return {"attempt": claim.attempt}
        log = self._log(claim)
        if not handed.accepted:
            log.warning("this worker no longer held the job, so its outcome was discarded")
            return {"discarded": claim.attempt}
        match outcome:
            case GiveUp(reason):
                log.info("gave up, so its job is cancelled: %s", reason)
                return {"cancelled": reason}
            case Leave(_, delay, reason):
                log.debug("is left, next in %.1f s, for %s", delay, reason)
                return {"left for": reason}
            case RetryLater(failure):
                job_outcomes.tell_retry(log, attempts_told(claim), outcome)
                error = AttemptFailed(f"{failure.error_class}: {failure.message}")
                raise CeleryRetry(str(error), exc=error, when=outcome.delay)
            case Fail(failure):
                job_outcomes.tell_failure(log, attempts_told(claim), outcome)
        raise AttemptFailed(f"{failure.error_class}: {failure.message}")

    def _log(self, claim: Claim | None = None) -> JobLog:
        """Return the job's log; without its claim, nothing is known of it but what the message says."""
        if claim is None:
            return job_log(logger, self._step or str(getattr(current_task.request, "shadow", None)), self._job_id)
        ids = {"workflow_id": str(claim.workflow_id), "tenant": claim.tenant}
        return job_log(logger, claim.step, claim.job_id, claim.attempt, **ids)


def _call(parameters: Parameters, claim: Claim, hard_timeout: float | None, /, *values: Any, **named: Any) -> Any:
    return loop.resolve(parameters.function(*values, **named), claim.timeout, hard_timeout, claim.job_id)


def _twice_if_late(work: Callable[[], T]) -> T:
    """Do what follows the step; once more where the soft limit, which comes once, came in the middle of it."""
    try:
        return work()
    except SoftTimeLimitExceeded:
        return work()


def _encode_result(claim: Claim, value: Any, limit: int) -> str:
    try:
        return encode(value, limit)
    except InvalidValue as error:
        raise InvalidResult(f"the result of step {claim.step!r}: {error}") from None


def _not_recorded(claim: Claim, outcome: Outcome, error: Exception) -> str:
    end = "returned" if isinstance(outcome, Succeed) else "ended"
    return (
        f"step {claim.step!r} {end}, but agentq could not record it ({type(error).__name__}: {error}); "
        "mend the cause, then replay the job, which runs the step again, or resolve its dead letter by hand"
    )
