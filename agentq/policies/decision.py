"""The decision after a failed attempt: a pure function of the policy, the error and what the job had so far."""

from __future__ import annotations

import random
from dataclasses import dataclass

from agentq.policies.errors.categories import Category
from agentq.policies.errors.classify import ErrorFacts, describe
from agentq.policies.policy import Policy
from agentq.policies.rules import OnError, Rule
from agentq.policies.schedules import Random


@dataclass(frozen=True, slots=True)
class History:
    """The history of a job, as its policy asks for it.

    Attributes:
        attempt: the number of the attempt that failed, from 1; deferrals burned none, so they are not in it.
        deferrals: how often the job was deferred, which burns no attempt.
        paused: seconds that the policy gave it in pauses between attempts; not those that the step asked for.
        deferred: seconds that the policy gave it in deferrals.
        left: seconds to its deadline; None for no deadline.
        attempts: how many it may have, where that is not as many as the policy says.
    """

    attempt: int = 1
    deferrals: int = 0
    paused: float = 0.0
    deferred: float = 0.0
    left: float | None = None
    attempts: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a job whose attempt failed.

    Attributes:
        action: what is done; of a job that would be tried again but has no more left, ``FAIL``.
        delay: seconds from now to the next attempt.
        reason: why, for people: the ledger shows it beside the due time, or in the dead letter.
        exhausted: whether a bound, not the kind of error, ended it.
        is_late: whether that bound is the job's deadline.
    """

    action: OnError
    reason: str
    delay: float = 0.0
    exhausted: bool = False
    is_late: bool = False

    @property
    def is_final(self) -> bool:
        """True if the job is not tried again."""
        return self.action.is_final

    @property
    def burns_attempt(self) -> bool:
        """True if the attempt that failed counts."""
        return self.action is not OnError.DEFER

    @property
    def needs_person(self) -> bool:
        """True if the dead letter asks for a person's decision."""
        return self.action is OnError.ASK


def decide(
    policy: Policy,
    error: ErrorFacts | BaseException,
    history: History = History(),
    *,
    in_line: bool = False,
    random: Random = random.random,
) -> Decision:
    """Return what becomes of a job whose attempt failed with *error*. Total: there is an answer to any error.

    *in_line* says that the error closes a limit of the job. Where it is tried again it waits in the line of that
    limit, which says when: so it is deferred, whether its policy defers it or burns an attempt.
    """
    facts = describe(error) if isinstance(error, BaseException) else error
    matched = policy.rule_for(facts)
    if matched.action.is_final:
        return Decision(matched.action, f"{facts.category}: {_of_final(matched.action)}")
    retry_after = facts.retry_after
    if retry_after is not None and retry_after > policy.longest_deferral:
        return Decision(
            matched.too_long,
            f"{facts.category}: the provider asks for a pause of {retry_after:.0f} s, over the policy's longest "
            f"deferral of {policy.longest_deferral:.0f} s",
            exhausted=True,
        )
    if matched.action is OnError.DEFER or in_line:
        return _defer(policy, matched, facts, history, random, in_line)
    return _retry(policy, matched, facts, history, random)


def decide_asked(
    policy: Policy,
    error: ErrorFacts | BaseException,
    history: History = History(),
    *,
    after: float | None = None,
    random: Random = random.random,
) -> Decision:
    """Return what becomes of a job whose step itself asks to be tried again, after *after* seconds.

    No rule is asked whether, but the bounds hold: the attempts and the deadline, and without a time of the
    step's own also the policy's total; the pause is then that of the rule for the error.
    """
    facts = describe(error) if isinstance(error, BaseException) else error
    matched = policy.rule_for(facts)
    if after is None:
        return _retry(policy, Rule(OnError.RETRY, schedule=matched.schedule), facts, history, random)
    return _again("the step asked for it", max(0.0, after), _attempts(policy, history), history)


def _of_final(action: OnError) -> str:
    return {
        OnError.FAIL: "never retried",
        OnError.DEAD_LETTER: "a dead letter at once",
        OnError.ASK: "a person decides",
    }[action]


def _defer(
    policy: Policy, matched: Rule, facts: ErrorFacts, history: History, random: Random, in_line: bool
) -> Decision:
    most = 0 if policy.defers_in_line_only and not in_line else policy.deferrals
    if matched.limit is not None and matched.action is OnError.DEFER:
        most = min(most, matched.limit)
    if history.deferrals >= most:
        return _exhausted(facts.category, f"{history.deferrals} of {most} deferrals")
    left = policy.total_deferral - history.deferred
    retry_after = facts.retry_after
    if left <= 0 or (retry_after is not None and retry_after > left):
        return _exhausted(
            facts.category, f"{history.deferred:.0f} s of {policy.total_deferral:.0f} s of deferrals"
        )
    if in_line:
        pause, why = retry_after or 0.0, "until its limit has cooled"
    elif retry_after is not None:
        pause, why = _spread(retry_after, policy, random), "as the provider asked"
    else:
        pause, why = _scheduled(policy, matched, history.deferrals, random), "as the policy says"
    delay = min(pause, policy.longest_deferral, left)
    if history.left is not None and delay >= history.left:
        return _too_late(facts.category, delay)
    return Decision(
        OnError.DEFER, f"{facts.category}: deferred, {why} (deferral {history.deferrals + 1} of {most})", delay
    )


def _retry(policy: Policy, matched: Rule, facts: ErrorFacts, history: History, random: Random) -> Decision:
    attempts = _attempts(policy, history)
    most = attempts if matched.limit is None else min(attempts, matched.limit)
    pause = _scheduled(policy, matched, history.attempt - 1, random)
    retry_after = facts.retry_after
    if retry_after is not None:
        pause = max(pause, _spread(retry_after, policy, random))
    left = policy.total - history.paused
    if history.attempt < most and ((retry_after or 0.0) > left or (left <= 0 < pause)):
        return _exhausted(facts.category, f"{history.paused:.0f} s of {policy.total:.0f} s of pauses")
    return _again(facts.category, min(pause, max(left, 0.0)), most, history)


def _attempts(policy: Policy, history: History) -> int:
    return policy.attempts if history.attempts is None else history.attempts


def _again(why: str, delay: float, most: int, history: History) -> Decision:
    if history.attempt >= most:
        return _exhausted(why, f"{history.attempt} of {most} attempts")
    if history.left is not None and delay >= history.left:
        return _too_late(why, delay)
    return Decision(OnError.RETRY, f"{why}: attempt {history.attempt + 1} of {most}", delay)


def _scheduled(policy: Policy, matched: Rule, before: int, random: Random) -> float:
    return policy.schedule_of(matched).pause(before + 1, random)


def _spread(retry_after: float, policy: Policy, random: Random) -> float:
    """Return the provider's time with jitter that only ever adds to it."""
    return retry_after + random() * max(1.0, retry_after * policy.spread)


def _exhausted(why: str, what: str) -> Decision:
    return Decision(OnError.FAIL, f"{why}: used up {what}", exhausted=True)


def _too_late(why: str, delay: float) -> Decision:
    return Decision(
        OnError.FAIL,
        f"{Category.DEADLINE_EXCEEDED}: after {why} the next attempt, in {delay:.0f} s, would start after the "
        "job's deadline",
        exhausted=True,
        is_late=True,
    )
