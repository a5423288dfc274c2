"""Policies as JSON-able data and back: a workflow's own policy is kept in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from agentq.policies.checks import refusal, unknown
from agentq.policies.policy import Policy
from agentq.policies.rules import Rule, rule
from agentq.policies.schedules import Exponential, Fixed, Ladder, Schedule
from agentq.redaction import show

_SCHEDULES: Final[dict[str, type[Exponential] | type[Ladder] | type[Fixed]]] = {
    "exponential": Exponential,
    "ladder": Ladder,
    "fixed": Fixed,
}
_BOUNDS: Final = (
    "attempts",
    "total",
    "deferrals",
    "longest_deferral",
    "total_deferral",
    "spread",
    "name",
    "defers_in_line_only",
)
_CONDITIONS: Final = ("error", "code", "category")


def dump_policy(policy: Policy) -> dict[str, Any]:
    """Return a policy as JSON-able data; raises StepDefinitionError where a rule has a predicate."""
    return {
        **{name: getattr(policy, name) for name in _BOUNDS},
        "rules": [_dump_rule(each) for each in policy.rules],
        "otherwise": _dump_rule(policy.otherwise),
    }


def load_policy(data: Mapping[str, Any]) -> Policy:
    """Return the policy that :func:`dump_policy` wrote; raises StepDefinitionError for anything else."""
    given = dict(_checked("policy", data, (*_BOUNDS, "rules", "otherwise")))
    rules = given.get("rules", ())
    if not isinstance(rules, (list, tuple)):
        raise refusal(f"the rules of a kept policy are {show(rules)}, must be a list")
    given["rules"] = tuple(_load_rule(each) for each in rules)
    if "otherwise" in given:
        given["otherwise"] = _load_rule(given["otherwise"])
    return Policy(**given)


def _dump_rule(one: Rule) -> dict[str, Any]:
    if one.when is not None:
        raise refusal(
            f"the rule '{one}' has a predicate, which cannot be kept in the ledger: for a policy of one workflow "
            "use error=, status=, code= or category=, or give the policy to @step(retry=…)"
        )
    data: dict[str, Any] = {"action": one.action.value, "too_long": one.too_long.value}
    data |= {name: [str(word) for word in getattr(one, name)] for name in _CONDITIONS if getattr(one, name)}
    data |= {"status": [list(pair) for pair in one.status]} if one.status else {}
    data |= {name: getattr(one, name) for name in ("has_retry_after", "limit") if getattr(one, name) is not None}
    return data | ({} if one.schedule is None else {"schedule": _dump_schedule(one.schedule)})


def _load_rule(data: object) -> Rule:
    known = ("action", "too_long", *_CONDITIONS, "status", "has_retry_after", "limit", "schedule")
    values = dict(_checked("rule", data, known))
    if "action" not in values:
        raise refusal(f"the kept rule {show(data)} has no action")
    if "status" in values:
        values["status"] = [_range(pair) for pair in values["status"]]
    if "schedule" in values:
        values["schedule"] = _load_schedule(values["schedule"])
    return rule(**values)


def _range(pair: object) -> range:
    match pair:
        case [int() as low, int() as high]:
            return range(low, high + 1)
    raise refusal(f"the status {show(pair)} of a kept rule must be a pair of numbers")


def _dump_schedule(schedule: Schedule) -> dict[str, Any]:
    kind = next(name for name, made in _SCHEDULES.items() if isinstance(schedule, made))
    values = asdict(schedule)
    return {"kind": kind, **{name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}}


def _load_schedule(data: object) -> Schedule:
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or kind not in _SCHEDULES:
        raise unknown("kind of schedule", kind, _SCHEDULES)
    made = _SCHEDULES[kind]
    values = _checked("schedule", data, ("kind", *(field.name for field in fields(made))))
    return made(**{name: value for name, value in values.items() if name != "kind"})


def _checked(what: str, data: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise refusal(f"a kept {what} is {show(data)}, must be a mapping")
    for name in data:
        if name not in known:
            raise unknown(f"entry of a {what}", name, known)
    return data
