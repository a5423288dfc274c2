"""The log line and Celery's event of an attempt's end: its error, and the job's next state."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from celery.exceptions import Retry as CeleryRetry

from agentq.exceptions import AttemptFailed
from agentq.job_log import JobLog, job_log
from agentq.ledger.caretaking.rescues import Lost
from agentq.ledger.losses import TIMED_OUT, WORKER_LOST
from agentq.ledger.records import Claim
from agentq.operations.attempt_counts import attempts_summary
from agentq.outcomes import Cancelled, Cool, Fail, Failure, Leave, Outcome, RetryLater, Succeed
from agentq.runtime.attempt.other_release import LeftForLive

logger = logging.getLogger(__name__)

_LONGEST = 500
"""Characters of an error in one line of the log; the ledger has all of it."""


def log_outcome(log: JobLog, claim: Claim, outcome: Outcome, is_accepted: bool) -> dict[str, Any]:
    """Log an attempt that was recorded, and return a line for Celery's log and Flower.

    *is_accepted* is False where the worker no longer owned the job.

    Raises AttemptFailed where its job failed for good, Celery's Retry where it is tried again, and LeftForLive
    where the main process is to send it on.
    """
    if is_accepted and isinstance(outcome, Succeed):
        return {"attempt": claim.attempt}
    if not is_accepted:
        log.warning("this worker no longer owned the job, so its outcome was discarded")
        return {"discarded": claim.attempt}
    match outcome:
        case Cancelled(reason):
            log.info("cancelled itself: %s", reason)
            return {"cancelled": reason}
        case Leave(_, delay, reason, takes):
            log.debug("is left, next in %.1f s, for %s", delay, reason)
            if not delay:
                raise LeftForLive(takes)
            return {"left for": reason}
        case RetryLater(failure):
            _log_cooldown(log, outcome.cool)
            _log_retry(log, attempts_summary(claim), outcome)
            error = AttemptFailed(f"{failure.error_class}: {failure.message}")
            raise CeleryRetry(str(error), exc=error, when=outcome.delay)
        case Fail(failure):
            _log_cooldown(log, outcome.cool)
            _log_failure(log, attempts_summary(claim), outcome)
    raise AttemptFailed(f"{failure.error_class}: {failure.message}")


def log_lost(lost: Sequence[Lost], has_processes: bool) -> None:
    """Log attempts that were taken from workers that are gone, or that do not run them any more.

    *has_processes* says that this worker runs each in a process of its own.
    """
    for worker, jobs in Counter(job.worker for job in lost if job.worker is not None).items():
        logger.warning("worker %s is gone: its lease is over, and %s taken over", worker, _counted(jobs))
    for job in lost:
        _log_lost(job, has_processes)


def _log_cooldown(log: JobLog, cool: Cool | None) -> None:
    """Log the limits that a refused call closes for all their jobs."""
    if cool is not None:
        time = "a pause that doubles" if cool.seconds is None else f"{cool.seconds:.1f} s, as the provider asks"
        log.warning("a call was refused (%s): limit %s cools for %s", cool.reason, ", ".join(cool.limits), time)


def _log_retry(log: JobLog, attempts: str, outcome: RetryLater) -> None:
    """Log an attempt that another one follows: a warning where it counts. *attempts* is the number so far."""
    level = logging.WARNING if outcome.burns_attempt else logging.INFO
    log.log(level, "failed (attempts: %s): %s; %s", attempts, _error(outcome.failure), _again(outcome))


def _log_failure(log: JobLog, attempts: str, outcome: Fail) -> None:
    """Log a job that failed for good, with the traceback of its last error."""
    failure = outcome.failure
    values = (attempts, _error(failure), _dead(log, outcome), _traceback(failure))
    log.error("failed for good (attempts: %s): %s; %s%s", *values)


def _log_lost(job: Lost, has_processes: bool) -> None:
    log, why = job_log(logger, job.step, job.attempt.job_id, job.attempt.attempt), _loss(job, has_processes)
    ended = "was stopped" if job.why.category == TIMED_OUT.category else "was lost"
    match job.becomes:
        case None:
            log.info("was stopped: %s; it is given back at no cost", why)
        case RetryLater():
            log.warning("%s: %s; %s", ended, why, _again(job.becomes))
        case Fail():
            log.error("%s, and failed for good: %s; %s", ended, why, _dead(log, job.becomes))


def _loss(job: Lost, has_processes: bool) -> str:
    if job.why is not WORKER_LOST:
        return job.why.message
    if job.worker is not None:
        return f"worker {job.worker} is gone"
    return "the process that ran it is gone" if has_processes else "this worker runs it no more and has no outcome"


def _traceback(failure: Failure) -> str:
    if not failure.traceback:
        return ""
    return f"\nTraceback (most recent call last):\n{failure.traceback.rstrip()}\n{failure.error_class}"


def _error(failure: Failure) -> str:
    text = " ".join(f"{failure.error_class}: {failure.message}".split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _again(outcome: RetryLater) -> str:
    when = f"in {outcome.delay:.1f} s" if outcome.delay else "at once"
    if outcome.in_line_of is not None:
        when = f"when limit {outcome.in_line_of} has cooled, and its turn has come"
    cost = "" if outcome.burns_attempt else ", at no cost"
    return f"it is tried again {when}{cost}" + (f" ({outcome.reason})" if outcome.reason else "")


def _dead(log: JobLog, outcome: Fail) -> str:
    what = "its dead letter asks for a person" if outcome.needs_person else "it is a dead letter"
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{what}{reason}; see: agentq jobs show {(log.extra or {})['job_id']}"


def _counted(jobs: int) -> str:
    return "a job that it ran is" if jobs == 1 else f"{jobs} jobs that it ran are"
