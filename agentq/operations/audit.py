"""The audit: the check that the ledger holds agentq's promises, as records."""

from __future__ import annotations

import uuid
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from agentq.ledger.audit import audit
from agentq.ledger.audit.audit import MOST
from agentq.ledger.db.session import Ledger


class Violation(BaseModel):
    """Something in the ledger that must never be there."""

    model_config = ConfigDict(frozen=True)

    rule: str
    """The rule's name, for programs."""
    text: str
    """The violation in words, for people."""
    noun: str
    """The noun of the id: job, workflow, worker, dead letter or limit."""
    id: uuid.UUID | str = Field(union_mode="left_to_right")
    """The id; of a limit, the name."""
    found: str
    next_step: str
    """The action that a person can take; empty where it can only be reported as a fault of agentq."""


class Unlisted(BaseModel):
    """Violations of one rule that are too many to be listed."""

    model_config = ConfigDict(frozen=True)

    rule: str
    text: str
    more: int


class Audit(BaseModel):
    """The result of an audit: the rows it read, and the violations it found."""

    model_config = ConfigDict(frozen=True)

    is_sound: bool
    workflows: int
    jobs: int
    violations: int
    """All of them, listed or not."""
    listed: list[Violation]
    unlisted: list[Unlisted]


def run(ledger: Ledger, *, most: int = MOST) -> Audit:
    """Audit the ledger in one consistent snapshot, listing up to *most* violations of each rule.

    It reads whole tables: seconds for a hundred thousand jobs.
    """
    return _summary(ledger.read(partial(audit.examine_snapshot, most=most)))


def _summary(audited: audit.Audited) -> Audit:
    listed = [
        Violation(
            rule=one.invariant.name,
            text=one.invariant.text,
            noun=one.invariant.noun,
            id=one.row_id,
            found=one.found,
            next_step=one.invariant.next_step,
        )
        for one in audited.violations
    ]
    unlisted = [Unlisted(rule=rule.name, text=rule.text, more=more) for rule, more in audited.unlisted.items()]
    total = len(listed) + sum(item.more for item in unlisted)
    return Audit(
        is_sound=not total,
        workflows=audited.workflows,
        jobs=audited.jobs,
        violations=total,
        listed=listed,
        unlisted=unlisted,
    )
