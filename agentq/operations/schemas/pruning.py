"""The model of a prune."""

from __future__ import annotations

from agentq.operations.schemas.record import Record


class Pruned(Record):
    """The result of a prune, or of its dry run."""

    workflows: int
    jobs: int
    dead_letters: int
    limits: int
    """Limits that no job names any more; of a dry run, those that no job names yet before it."""
    is_dry_run: bool
    is_complete: bool
    """False where it stopped at its limit: there is more to delete."""
