"""The result that a finished job passes on: its own, or those of a fan-in's members, and the missing ones."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, case, select
from sqlalchemy.orm import aliased

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.states import FAN_INS, JOB_WITHOUT_RESULT, JobStatus

_member, _after = aliased(JobRow), aliased(JobRow)
_first_failed = case((JobRow.status == JobStatus.FAILED, 0), else_=1)


def collect_results(connection: Connection, job_id: uuid.UUID) -> str:
    """Return the result of a done job as JSON text; for a fan-in, the ordered list of its members' results."""
    job = connection.execute(select(JobRow.kind, JobRow.result).where(JobRow.id == job_id)).one()
    return _result_of(connection, job_id, job.kind, job.result)


def missing_members(connection: Connection, job_id: uuid.UUID) -> list[AnyRow]:
    """Return position, job_id, step, status and error columns of each missing member of the fan-in before a job.

    The job named is the one that failed, or else one that was cancelled.
    """
    members = (
        select(
            _member.position,
            JobRow.id.label("job_id"),
            JobRow.step,
            JobRow.status,
            JobRow.error_category,
            JobRow.error_message,
        )
        .join(JobRow, JobRow.part_id == _member.id)
        .where(
            _member.join_id == select(_after.after_id).where(_after.id == job_id).scalar_subquery(),
            _member.is_missing,
            JobRow.status.in_(sorted(JOB_WITHOUT_RESULT)),
        )
        .order_by(_member.position, _first_failed, JobRow.id)
    )
    found: dict[int, AnyRow] = {}
    for row in connection.execute(members):
        found.setdefault(row.position, row)
    return list(found.values())


def _result_of(connection: Connection, job_id: uuid.UUID, kind: str, result: str | None) -> str:
    if kind not in FAN_INS:
        return result or "null"
    there = (JobRow.join_id == job_id, JobRow.is_missing.is_(False))
    members = connection.execute(
        select(JobRow.id, JobRow.kind, JobRow.result).where(*there).order_by(JobRow.position)
    ).all()
    return f"[{','.join(_result_of(connection, *member) for member in members)}]"
