"""Pure decisions: which error, how often, how long. No database, no Celery."""

from agentq.policies.decision import Decision, History, decide, decide_asked
from agentq.policies.errors.categories import NEVER_RETRIED, Category
from agentq.policies.errors.classify import ErrorFacts, describe
from agentq.policies.errors.failure import failure_of, trimmed_traceback
from agentq.policies.policy import Policy
from agentq.policies.presets import DEFAULT, NONE, PATIENT, PRESETS, QUICK, policy_of, preset
from agentq.policies.rules import OnError, Rule, rule
from agentq.policies.schedules import Exponential, Fixed, Ladder, Schedule
from agentq.policies.stored import dump_policy, load_policy

__all__ = [
    "DEFAULT",
    "NEVER_RETRIED",
    "NONE",
    "PATIENT",
    "PRESETS",
    "QUICK",
    "Category",
    "Decision",
    "ErrorFacts",
    "Exponential",
    "Fixed",
    "History",
    "Ladder",
    "OnError",
    "Policy",
    "Rule",
    "Schedule",
    "decide",
    "decide_asked",
    "describe",
    "dump_policy",
    "failure_of",
    "load_policy",
    "policy_of",
    "preset",
    "rule",
    "trimmed_traceback",
]
