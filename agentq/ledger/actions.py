"""The actions of operators in the ledger: actor, action, reason."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, insert, select

from agentq.ids import new_id
from agentq.ledger.models import ActionRow
from agentq.ledger.transaction import Transaction

RESOLVE = "resolve"
"""The action of a person who gives a job its result."""


def note(
    tx: Transaction,
    workflow_id: uuid.UUID,
    job_id: uuid.UUID | None,
    action: str,
    *,
    actor: str,
    reason: str,
    details: str | None = None,
    action_id: uuid.UUID | None = None,
) -> None:
    """Write who did what to which workflow or job, and why; *details* is what it replaced."""
    values = {"workflow_id": workflow_id, "job_id": job_id, "action": action, "actor": actor, "reason": reason}
    tx.connection.execute(insert(ActionRow).values(id=action_id or new_id(), details=details, **values))


def is_noted(connection: Connection, action_id: uuid.UUID) -> bool:
    """Say whether this very action was done: by a try before, whose commit got no answer."""
    return connection.scalar(select(ActionRow.id).where(ActionRow.id == action_id)) is not None
