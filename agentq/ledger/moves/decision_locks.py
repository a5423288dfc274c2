"""The locks of a decision about a dead job: of all jobs that it may let live again, cancel or count anew.

They are taken in the order of a hand-over: the jobs of a member before the member, a member before its fan-in, and
an inner fan-in before an outer one. The decision locks dead letters after that, and the workflow last.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Uuid, bindparam, or_, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.ledger.moves.shared import JOB_ID, MAY_END_NOW, batches
from agentq.ledger.transaction import Transaction
from agentq.states import FAN_INS, JOB_WITHOUT_RESULT

_IDS = bindparam("ids", type_=Uuid(), expanding=True)
_has_no_result = JobRow.status.in_(sorted(JOB_WITHOUT_RESULT))
_MISSING = select(JobRow.id).where(JobRow.join_id.in_(_IDS), JobRow.is_missing)
_ENDED_FAN_INS = select(JobRow.id).where(
    JobRow.part_id.in_(_IDS), _has_no_result, JobRow.kind.in_(sorted(FAN_INS))
)
_LOCK_JOBS = (
    select(JobRow.id)
    .where(JobRow.part_id.in_(_IDS), or_(_has_no_result, MAY_END_NOW), JobRow.id != JobRow.part_id)
    .order_by(JobRow.id)
    .with_for_update(key_share=True)
)
_LOCK_MEMBERS = select(JobRow.id).where(JobRow.id.in_(_IDS)).order_by(JobRow.id).with_for_update(key_share=True)
_LOCK_ONE = (
    select(JobRow.id, JobRow.part_id, JobRow.join_id).where(JobRow.id == JOB_ID).with_for_update(key_share=True)
)


def lock_for_decision(tx: Transaction, job_id: uuid.UUID) -> None:
    """Lock a dead job, the jobs of its missing members where it is a fan-in, and the fan-ins to which it leads.

    So of two decisions on jobs of one fan-in the later one waits, and finds what the first one has done.
    """
    for members in reversed(_missing_members(tx, job_id)):
        for batch in batches(members):
            tx.connection.execute(_LOCK_JOBS, {"ids": batch})
        for batch in batches(members):
            tx.connection.execute(_LOCK_MEMBERS, {"ids": batch})
    job = _lock(tx, job_id)
    while job is not None and job.part_id is not None:
        member = _lock(tx, job.part_id)
        job = None if member is None or member.join_id is None else _lock(tx, member.join_id)


def _missing_members(tx: Transaction, job_id: uuid.UUID) -> list[Sequence[uuid.UUID]]:
    """Return the missing members of a fan-in, then those of the fan-ins in these, and so on; none of a step."""
    levels: list[Sequence[uuid.UUID]] = []
    fan_ins: Sequence[uuid.UUID] = [job_id]
    while members := _ids(tx, _MISSING, fan_ins):
        levels.append(members)
        fan_ins = _ids(tx, _ENDED_FAN_INS, members)
    return levels


def _ids(tx: Transaction, query: Any, of: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Return the ids that a query finds of these, in one order for all that lock them."""
    return sorted(found for batch in batches(of) for found in tx.connection.scalars(query, {"ids": batch}))


def _lock(tx: Transaction, job_id: uuid.UUID) -> AnyRow | None:
    return tx.connection.execute(_LOCK_ONE, {"job_id": job_id}).one_or_none()
