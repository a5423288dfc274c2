"""The rule on rates: no window of time has more starts than its limit allows, by the history of attempts.

The n-th start after one comes n gaps after it, less those that a burst may be ahead: that is what a claim pays. It
holds whatever a clock does, and from when the limit has its numbers: they are not the ones that older starts went
by, and a claim that was under way just then may not have gone by them either.
"""

from __future__ import annotations

from sqlalchemy import Float, String, Uuid, cast, column, exists, func, literal, or_, select, union_all
from sqlalchemy.orm import aliased

from agentq.exceptions import LimitReached
from agentq.ledger.audit.invariants.common import BEGAN_AT, Found, invariant
from agentq.ledger.audit.invariants.elements import limits_paid
from agentq.ledger.db.types import later, seconds_of
from agentq.ledger.models import AttemptRow, JobRow, LimitChangeRow, LimitRow
from agentq.ledger.moves.meters import RATE
from agentq.states import JobStatus

_SETTLED = 60.0
"""Seconds from a change of a limit until all claims go by it."""
_ROUNDING = 0.01
"""Seconds by which the times in the history differ from those that were paid for."""

_other = aliased(AttemptRow)

_paid = limits_paid().table_valued(column("name", String()), column("job_id", Uuid()), name="limits_paid")
_starts = union_all(
    select(AttemptRow.job_id, AttemptRow.started_at).where(AttemptRow.started_at.is_not(None)),
    # What runs is not in the history yet.
    select(JobRow.id, JobRow.started_at).where(JobRow.status == JobStatus.RUNNING),
).subquery("starts")
_changes = (
    select(LimitChangeRow.name, func.max(LimitChangeRow.created_at).label("at"))
    .where(LimitChangeRow.cools_until.is_(None))
    .group_by(LimitChangeRow.name)
    .subquery("changes")
)
_has_ended = LimitRow.override_until <= BEGAN_AT
# Such a job got a limit when its call was refused: its attempts until then had nothing to pay.
_was_limited_later = exists().where(
    _other.job_id == _paid.c.job_id, _other.error_class.endswith(LimitReached.__name__)
)


@invariant("limit")
def rate_exceeded() -> Found:
    """more attempts started in a time than the rate of their limit allows"""
    at = seconds_of(_starts.c.started_at)
    start = (
        select(
            LimitRow.name,
            at.label("at"),
            RATE.gap.label("gap"),
            RATE.burst.label("burst"),
            func.row_number().over(partition_by=LimitRow.name, order_by=at).label("number"),
        )
        .select_from(_paid)
        .join(LimitRow, LimitRow.name == _paid.c.name)
        .join(_starts, _starts.c.job_id == _paid.c.job_id)
        .outerjoin(_changes, _changes.c.name == LimitRow.name)
        .where(
            RATE.limit.is_not(None),
            ~_was_limited_later,
            or_(_changes.c.at.is_(None), _starts.c.started_at > later(_changes.c.at, _SETTLED)),
            or_(
                LimitRow.override_until.is_(None),
                ~_has_ended,
                _starts.c.started_at > later(LimitRow.override_until, _SETTLED),
            ),
        )
        .subquery("start")
    )
    of_limit = select(start.c.name, (start.c.at - start.c.number * start.c.gap).label("pace"), start.c.number)
    lead = ((start.c.burst - 1) * start.c.gap).label("lead")
    paced = of_limit.add_columns(lead).subquery("paced")
    before = func.max(paced.c.pace).over(partition_by=paced.c.name, order_by=paced.c.number, rows=(None, -1))
    compared = select(paced, before.label("before")).subquery("compared")
    early = compared.c.before - compared.c.lead - compared.c.pace
    found = (
        select(compared.c.name, func.count().label("starts"))
        .where(early > literal(_ROUNDING, Float()))
        .group_by(compared.c.name)
        .subquery("found")
    )
    return select(found.c.name, cast(found.c.starts, String()))


INVARIANTS = (rate_exceeded,)
