"""The outcome of a failed attempt: a step's policy, or its workflow's, asked with the job's history."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from celery.exceptions import Ignore, Reject
from celery.exceptions import Retry as CeleryRetry

from agentq.exceptions import BacklogFull, Cancel, DeadLetterNow, LimitReached, Retry
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import Claim
from agentq.outcomes import LONGEST_MESSAGE, LONGEST_REASON, Cancelled, Cool, Fail, Failure, RetryLater
from agentq.policies import (
    Decision,
    ErrorFacts,
    History,
    Policy,
    decide,
    decide_asked,
    describe,
    failure_of,
)
from agentq.policies.errors.categories import REFUSED_FOR_NOW
from agentq.policies.errors.untrusted import cause_of, first_known, message_of, safely
from agentq.redaction import clean
from agentq.runtime.attempt.running import Running
from agentq.runtime.start import terms
from agentq.steps import registry

_LONGEST_ASKED = 1e9
"""Seconds that Celery's ``countdown`` may ask for at most: no database has times beyond all bounds."""
_MOMENT = 0.001
"""Seconds of a pause that only lets a job give its slots back."""
_REQUEUED_AFTER = 1.0
"""Seconds before a task that asked Celery to requeue its message is tried again; Celery itself would not pause."""


def outcome_of_error(
    claim: Claim,
    error: BaseException,
    *,
    override: str | None = None,
    left: float | None = None,
    running: Running | None = None,
    cools: Sequence[str] = (),
) -> RetryLater | Fail | Cancelled:
    """Return what becomes of a job whose function raised.

    Args:
        claim: the attempt.
        error: what was raised: an error, a directive of agentq's or one of Celery's.
        override: the policy of the workflow, as JSON text.
        left: seconds to the job's deadline.
        running: what the code itself said of another attempt; a policy of the workflow stands in its place.
        cools: the limits of the job that a provider's refusal closes for a while.
    """
    match error:
        case Cancel():
            return Cancelled(clean(_words(error), 1_000) or "the step cancelled itself")
        case Ignore():
            return Cancelled("the task raised Celery's Ignore")
        case DeadLetterNow():
            facts = _facts_of(error)
            return Fail(failure_of(error, facts), "the step asked for a dead letter", cool=_cool(facts, cools))
        case LimitReached() if error.limit not in (claim.limits or ()):
            # Once of each limit: with its slot, a job that gets no second one has an error like any other.
            lacked = f"start of {error.limit} was due" if error.due_in else f"slot of {error.limit} was free"
            why = clean(f"no {lacked} within {error.wait:g} s", LONGEST_REASON)
            return RetryLater(
                *(failure_of(error), _MOMENT, why),
                burns_attempt=False,
                needs_slot_of=error.limit,
                needs_tokens=error.tokens,
            )
        case Reject() if not error.requeue:
            return Fail(failure_of(error), "the task raised Celery's Reject")
    asked = None if running is None or override is not None else running.attempts
    policy, history = _policy(claim, override), _history(claim, left, asked)
    match error:
        case Retry():
            facts = _facts_of(error)
            decision, cool = decide_asked(policy, facts, history, after=error.after), _cool(facts, cools)
            return _outcome(failure_of(error, facts), decision, is_asked=error.after is not None, cool=cool)
        case Reject():
            decision = decide_asked(policy, error, history, after=_REQUEUED_AFTER)
            return _outcome(failure_of(error), decision, is_asked=True)
        case CeleryRetry():
            # What it was raised from: Celery turns its own ``exc`` into a parent class where it cannot be pickled.
            known, after = first_known(cause_of(error), error.exc), _seconds(error)
            cause = error if known is None else known
            facts = describe(cause)
            decision, cool = decide_asked(policy, facts, history, after=after), _cool(facts, cools)
            return _outcome(failure_of(cause, facts), decision, after is not None, asked, cool)
    facts = describe(error)
    cool = _cool(facts, cools)
    if running is not None and running.final is not None and override is None:
        return Fail(failure_of(error, facts), running.final, cool=cool)
    decision = decide(policy, facts, history, in_line=cool is not None)
    return _outcome(failure_of(error, facts), decision, cool=cool)


def refusal_in_block(error: BaseException | None, limit: str) -> Cool | None:
    """Return what an error that leaves a block of *limit* does to it; None where no provider refused a call."""
    # A start over a cap, and a block inside it that could not begin, have no provider.
    if not isinstance(error, Exception) or isinstance(error, (BacklogFull, LimitReached)):
        return None
    return _cool(_facts_of(error) if isinstance(error, (Retry, DeadLetterNow)) else describe(error), [limit])


def outcome_of_loss(row: AnyRow, why: Failure) -> RetryLater | Fail:
    """Return what becomes of a job whose attempt was lost; *row* is one of ``caretaking``."""
    left = None if row.deadline_at is None else (row.deadline_at - row.seen_at).total_seconds()
    policy = _policy(row, row.policy, row.terms)
    return _outcome(why, decide(policy, terms.facts_of(why), _history(row, left)))


def _policy(job: Claim | AnyRow, override: str | None, kept: str | None = None) -> Policy:
    """The workflow's policy, else that of the step's own code, else what its start *kept* of it.

    Code comes before stored terms: a raised error is decided by that of the worker that ran the step, too.
    """
    if override is not None:
        return terms.readable(json.loads(override), job.step)
    step = registry.find(job.step)
    return terms.stored_policy(kept, job.step) if step is None else step.policy


def _history(job: Claim | AnyRow, left: float | None, asked: int | None = None) -> History:
    before = job.attempts_before + job.uncounted
    return History(
        job.attempt - before,
        deferrals=job.deferrals,
        paused=job.paused,
        deferred=job.deferred,
        left=left,
        attempts=max(job.max_attempts - before, asked or 0),
    )


def _facts_of(directive: BaseException) -> ErrorFacts:
    """The facts of the error that a directive was raised from, behind the directive's own words."""
    cause = directive.__cause__
    if cause is None and not directive.__suppress_context__:
        cause = directive.__context__
    if cause is None:
        return describe(directive)
    facts = describe(cause)
    return replace(
        facts, message=clean(f"{_words(directive)} ({facts.error_class}: {facts.message})", LONGEST_MESSAGE)
    )


def _words(directive: BaseException) -> str:
    # Longer than what is kept, so that no secret is cut before it is masked.
    return message_of(directive, 2 * LONGEST_MESSAGE)


def _seconds(asked: CeleryRetry) -> float | None:
    """The pause that was asked for; None where it is no number, which is the policy's then."""
    if isinstance(asked.when, datetime):
        return (asked.when - datetime.now(asked.when.tzinfo)).total_seconds()
    after = safely(None, float, asked.when)
    return None if after is None or math.isnan(after) else min(after, _LONGEST_ASKED)


def _cool(facts: ErrorFacts, cools: Sequence[str]) -> Cool | None:
    """Return what an error does to the limits that a provider's refusal closes; None where it is none."""
    if not cools or facts.category not in REFUSED_FOR_NOW:
        return None
    return Cool(tuple(cools), facts.retry_after, str(facts.status or facts.category))


def _outcome(
    failure: Failure,
    decision: Decision,
    is_asked: bool = False,
    attempts: int | None = None,
    cool: Cool | None = None,
) -> RetryLater | Fail:
    reason = clean(decision.reason, LONGEST_REASON)
    if decision.is_final:
        return Fail(failure, reason, decision.needs_person, decision.is_late, cool)
    return RetryLater(failure, decision.delay, reason, decision.burns_attempt, is_asked, attempts, cool)
