"""Fan-ins that wait: the number of their open members, the number they need, and their deadline."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from sqlalchemy import Connection, func, select

from agentq.canvas.needs import worded
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.states import VIRTUAL, JobStatus


def members_of(connection: Connection, rows: Iterable[AnyRow]) -> dict[uuid.UUID, int]:
    """Count the members of those of these jobs that are fan-ins and wait."""
    waiting = [row.id for row in rows if row.kind in VIRTUAL and row.status == JobStatus.WAITING]
    if not waiting:
        return {}
    members = select(JobRow.join_id, func.count().label("members")).where(JobRow.join_id.in_(waiting))
    return {row.join_id: row.members for row in connection.execute(members.group_by(JobRow.join_id))}


def members_awaited(fan_in: AnyRow, members: int) -> str:
    """Return the condition of a fan-in of a number of *members*."""
    phrases = [f"{fan_in.remaining} of its {members} members"]
    phrases += [f"{fan_in.missing} missing"] if fan_in.missing else []
    phrases += [f"needs {worded(fan_in.needs)}"] if fan_in.needs else []
    if fan_in.deadline_at is not None:
        phrases.append(f"until {fan_in.deadline_at:%Y-%m-%d %H:%M:%S} UTC")
    elif fan_in.deadline is not None:
        phrases.append(f"until {fan_in.deadline:g} s after the first of them")
    return "; ".join(phrases)
