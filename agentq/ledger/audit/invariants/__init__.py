"""The rules of the audit: what must never be in a ledger, each as one query that should find nothing."""

from agentq.ledger.audit.invariants import (
    attempts,
    cooldowns,
    dead_letters,
    events,
    graph,
    leases,
    limits,
    postponed,
    rates,
    schedules,
    workflows,
)
from agentq.ledger.audit.invariants.common import Invariant

ALL: tuple[Invariant, ...] = (
    *attempts.INVARIANTS,
    *graph.INVARIANTS,
    *workflows.INVARIANTS,
    *leases.INVARIANTS,
    *dead_letters.INVARIANTS,
    *events.INVARIANTS,
    *limits.INVARIANTS,
    *postponed.INVARIANTS,
    *rates.INVARIANTS,
    *cooldowns.INVARIANTS,
    *schedules.INVARIANTS,
)
