"""The naming: a queued job whose limits need a result before it gets their names, and stands in the first line."""

from __future__ import annotations

import uuid

from sqlalchemy import Boolean, Integer, String, Text, bindparam, false, null, update

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.ledger.moves.ready import in_line_of
from agentq.ledger.moves.shared import DISPATCH, IS_UNNAMED, JOB_ID
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus
from agentq.steps.naming import JobLimits

_IS_AS_READ = (
    JobRow.id == JOB_ID,
    # Not "=": PostgreSQL would then take the index of queued jobs, not the key.
    JobRow.status.is_not_distinct_from(JobStatus.QUEUED),
    IS_UNNAMED,
    # Its names were made of these: a move to another queue, or a replay with other arguments, makes others.
    JobRow.queue == bindparam("of_queue", type_=String()),
    JobRow.attempt == bindparam("after_attempt", type_=Integer()),
)
_NAME = (
    update(JobRow)
    .where(*_IS_AS_READ)
    .values(
        **in_line_of(bindparam("first", type_=Text())),
        limits=bindparam("limits_now", type_=JobRow.__table__.c.limits.type),
        tokens=bindparam("tokens_now", type_=JobRow.__table__.c.tokens.type),
        pays=bindparam("now_pays", type_=Boolean()),
    )
    .returning(*DISPATCH)
)
_FREE = update(JobRow).where(*_IS_AS_READ).values(limits=null(), pays=false()).returning(*DISPATCH)


def name_limits(tx: Transaction, job_id: uuid.UUID, queue: str, attempt: int, limits: JobLimits) -> AnyRow | None:
    """Queued to blocked for a job that has *limits*, whose names it gets; without any it stays queued.

    *queue* and *attempt* are those of which the names were made. Returns the columns of DISPATCH; None where it is
    not so any more.
    """
    values = {"job_id": job_id, "of_queue": queue, "after_attempt": attempt}
    if not limits.names:
        return tx.connection.execute(_FREE, values).one_or_none()
    values |= {"first": limits.names[0], "limits_now": limits.names}
    values |= {"tokens_now": limits.tokens or None, "now_pays": limits.pays}
    return tx.connection.execute(_NAME, values).one_or_none()
