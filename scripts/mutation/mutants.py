"""All mutants."""

from __future__ import annotations

from scripts.mutation import (
    of_attempts,
    of_backlogs,
    of_caretakers,
    of_connections,
    of_holds,
    of_limits,
    of_naming,
    of_rates,
    of_schedules,
    of_workflows,
)
from scripts.mutation.mutant import Mutant

MUTANTS: list[Mutant] = [
    *of_attempts.MUTANTS,
    *of_workflows.MUTANTS,
    *of_caretakers.MUTANTS,
    *of_connections.MUTANTS,
    *of_holds.MUTANTS,
    *of_limits.MUTANTS,
    *of_backlogs.MUTANTS,
    *of_rates.MUTANTS,
    *of_naming.MUTANTS,
    *of_schedules.MUTANTS,
]
