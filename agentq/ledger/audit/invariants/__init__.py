"""The rules of the audit: what must never be in a ledger, each as one query that should find nothing."""

from agentq.ledger.audit.invariants import attempts, dead_letters, events, graph, leases, workflows
from agentq.ledger.audit.invariants.common import Rule

ALL: tuple[Rule, ...] = (
    *attempts.RULES,
    *graph.RULES,
    *workflows.RULES,
    *leases.RULES,
    *dead_letters.RULES,
    *events.RULES,
)
