"""Jobs that failed for good, and for whose dead letters the jobs after them wait."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, or_, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.states import JobStatus


def failed_before(connection: Connection, rows: Sequence[AnyRow]) -> Mapping[uuid.UUID, list[AnyRow]]:
    """Return the failed jobs directly before these jobs, by the id of the job that waits, oldest first.

    One statement, and none where no job waits. Members that a fan-in goes on without are left out.
    """
    waiting = [row for row in rows if row.status == JobStatus.WAITING]
    if not waiting:
        return {}
    by_before = defaultdict(list)
    for row in waiting:
        by_before[row.after_id].append(row.id)
    is_before = or_(
        JobRow.id.in_([before for before in by_before if before is not None]),
        JobRow.join_id.in_([row.id for row in waiting]),
    )
    query = select(JobRow.id, JobRow.kind, JobRow.step, JobRow.join_id)
    query = query.where(is_before, JobRow.status == JobStatus.FAILED, ~JobRow.is_missing).order_by(JobRow.id)
    found = defaultdict(list)
    for failed in connection.execute(query):
        for job_id in {*by_before.get(failed.id, ()), failed.join_id} - {None}:
            found[job_id].append(failed)
    return found
