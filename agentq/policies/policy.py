"""A retry policy: ordered rules and the bounds that nothing exceeds. Data, without Celery or a database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agentq.policies.checks import a_count, a_number, refusal
from agentq.policies.errors.classify import ErrorFacts
from agentq.policies.rules import OnError, Rule
from agentq.policies.schedules import LONGEST, Exponential, Ladder, Schedule
from agentq.redaction import show

_OTHERWISE = Rule(OnError.RETRY, schedule=Exponential())


@dataclass(frozen=True, slots=True)
class Policy:
    """A retry policy: the first rule that matches decides on a job whose attempt failed.

    Attributes:
        rules: tried in order.
        otherwise: what is done where none matches; a rule without conditions.
        attempts: how many attempts a job may have.
        total: seconds that a job may spend in pauses between attempts, over its whole life.
        deferrals: how often a job may be deferred, which burns no attempt.
        longest_deferral: seconds that one deferral may take, or that a provider may ask for.
        total_deferral: seconds that a job may spend in deferrals, over its whole life.
        spread: what is added to a provider's own time, at random: up to this share of it, or up to one second
            where that is more. It spreads over time the jobs that got the same answer.
        name: for people; presets have one.
        defers_in_line_only: whether a job is deferred only where the error closes a limit of it, in whose line it
            waits then.
    """

    rules: tuple[Rule, ...] = ()
    otherwise: Rule = _OTHERWISE
    attempts: int = 5
    total: float = 6 * 3600.0
    deferrals: int = 50
    longest_deferral: float = 3600.0
    total_deferral: float = 6 * 3600.0
    spread: float = 0.5
    name: str = "custom"
    defers_in_line_only: bool = False

    def __post_init__(self) -> None:
        a_count("attempts of a policy", self.attempts, least=1)
        a_number("total of a policy", self.total, most=12 * LONGEST)
        a_count("deferrals of a policy", self.deferrals)
        a_number("longest_deferral of a policy", self.longest_deferral, most=LONGEST)
        a_number("total_deferral of a policy", self.total_deferral, most=12 * LONGEST)
        a_number("spread of a policy", self.spread, most=10.0)
        if not isinstance(self.defers_in_line_only, bool):
            raise refusal(f"defers_in_line_only of a policy is {show(self.defers_in_line_only)}, must be a bool")
        object.__setattr__(self, "rules", tuple(self.rules))
        for each in (*self.rules, self.otherwise):
            if not isinstance(each, Rule):
                raise refusal(f"a policy was given {show(each)} as a rule: make rules with rule(…)")
        if not self.otherwise.is_for_all:
            raise refusal(f"otherwise= of a policy is '{self.otherwise}', must be a rule without conditions")
        _refuse_what_never_matches(self.rules)

    def with_rules(self, *rules: Rule) -> Policy:
        """Return this policy with rules before its own; those of its own that can no longer match are dropped."""
        _refuse_what_never_matches(rules)
        kept = [own for own in self.rules if not any(new.covers(own) for new in rules)]
        return replace(self, rules=(*rules, *kept), name=f"{self.name} with rules")

    def with_retries(self, retries: int) -> Policy:
        """Return this policy for a number of retries.

        With 0 the body runs once, but where a refused call closes a limit of the job: that is the limit's answer.
        """
        a_count("retries", retries, most=1000)
        in_line_only = self.defers_in_line_only or not retries
        return replace(self, attempts=retries + 1, defers_in_line_only=in_line_only)

    def rule_for(self, facts: ErrorFacts) -> Rule:
        """Return the first rule that matches."""
        return next((each for each in self.rules if each.matches(facts)), self.otherwise)

    def narrowed_to(self, errors: Iterable[ErrorFacts]) -> Policy:
        """Return the policy for errors like these, by their categories alone: without a rule's predicate."""
        matched = [(facts.category, self.rule_for(facts)) for facts in errors]
        rules = (
            Rule(one.action, category=(category,), schedule=one.schedule, limit=one.limit, too_long=one.too_long)
            for category, one in matched
            if one is not self.otherwise
        )
        return replace(self, rules=tuple(rules))

    def schedule_of(self, matched: Rule) -> Schedule:
        """Return the pauses of a rule: its own, or else what suits its action."""
        if matched.schedule is not None:
            return matched.schedule
        return Ladder() if matched.action is OnError.DEFER else (self.otherwise.schedule or Exponential())


def _refuse_what_never_matches(rules: Iterable[Rule]) -> None:
    earlier: list[Rule] = []
    for each in rules:
        if not isinstance(each, Rule):
            raise refusal(f"a policy was given {show(each)} as a rule: make rules with rule(…)")
        if each.is_for_all:
            raise refusal(
                f"the rule '{each}' has no condition, so no rule after it could match: say which errors it is "
                "for, or give it as the policy's otherwise="
            )
        broader = next((one for one in earlier if one.covers(each)), None)
        if broader is not None:
            raise refusal(
                f"the rule '{each}' can never match: the earlier rule '{broader}' takes all of it. "
                "Put the narrower rule first, or drop one."
            )
        earlier.append(each)
