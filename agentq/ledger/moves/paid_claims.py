"""The claim of a job that pays for its start: one of its limits has a rate, tokens or a cooldown.

The start is paid by the claim, since nothing else is so near to it. All limits of the job are locked, by name;
then the clock is read. Where the start is due within LOOK_AHEAD, each limit notes it, and the worker waits for it
in place. Where it is not, no attempt is counted, and the job stands in a line again: of the limit that it waits
for longest. So all limits are paid, or none.

A claim whose reply was lost finds itself by its token, and pays nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    select,
    true,
    update,
)

from agentq.ledger.after_commit import Enter
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import (
    AnyRow,
    clock,
    greatest,
    in_code_order,
    is_among_first,
    item_for,
    seconds_of,
    time_at,
)
from agentq.ledger.models import JobRow, LimitRow
from agentq.ledger.moves.claims import (
    DEADLINE_AT,
    RESULT_BEFORE,
    SUCCESSORS,
    TOKEN,
    WORKER,
    claimable,
    taken,
)
from agentq.ledger.moves.meters import RATE, TOKENS
from agentq.ledger.moves.shared import IS_UNNAMED, JOB_ID
from agentq.ledger.transaction import Transaction
from agentq.states import BlockedBy, JobStatus

LOOK_AHEAD = 0.1
"""Seconds that a worker waits at most for a start that it has paid."""

_ZERO, _ONE, _NO_TIME = (
    literal_column("0", Integer()),
    literal_column("1", Integer()),
    literal_column("0.0", Float()),
)
_IS_QUEUED = and_(JobRow.status == JobStatus.QUEUED, JobRow.pays, ~IS_UNNAMED)
_JOB = select(
    JobRow.id,
    JobRow.status,
    JobRow.limits,
    JobRow.tokens,
    JobRow.held,
    JobRow.is_outstanding,
).where(*claimable(_IS_QUEUED))
_CLAIMED = (
    JobRow.status,
    JobRow.blocked_on,
    JobRow.tokens,
    greatest(_NO_TIME, seconds_of(JobRow.started_at) - clock()).label("begins_in"),
)
_PACE = {
    "name": LimitRow.name,
    "cooldown": seconds_of(LimitRow.cooldown_until),
    "rate_due": LimitRow.rate_due,
    "rate_gap": RATE.gap,
    "rate_burst": RATE.burst,
    "tokens_due": LimitRow.tokens_due,
    "tokens_gap": TOKENS.gap,
    "tokens_burst": TOKENS.burst,
}


class _Job(NamedTuple):
    """The job of a claim, as columns, and how one value of it is selected."""

    limits: Any
    tokens: Any
    held: Any
    is_outstanding: Any
    value: Callable[[Any], Any]


def _wait(pace: Any, tokens: Any, at: Any) -> Any:
    """Return the seconds from *at* to the start, of one limit whose _PACE is given."""
    return greatest(
        _NO_TIME,
        func.coalesce(pace.cooldown - at, _NO_TIME),
        func.coalesce(pace.rate_due - at - (pace.rate_burst - _ONE) * pace.rate_gap, _NO_TIME),
        func.coalesce(
            # More than may come at once goes when nothing is owed; then what it takes too much is.
            pace.tokens_due - at + (tokens - greatest(pace.tokens_burst, tokens)) * pace.tokens_gap,
            _NO_TIME,
        ),
    )


def _paid(job: _Job, pace: Callable[[str], Any], is_paid: Any, start: Any) -> dict[str, Any]:
    """Return the values of a limit after the claim: with the start, or without the job.

    *pace* gives a column of its _PACE, and *start* is in seconds since 1970.
    """
    tokens = func.coalesce(job.value(item_for(job.limits, LimitRow.name, job.tokens)), _ZERO)
    outstanding = job.value(cast(job.is_outstanding, Integer))
    holds = job.value(cast(is_among_first(job.limits, job.held, LimitRow.name), Integer))

    def after(due: Any, taken: Any) -> Any:
        return case((is_paid, func.coalesce(greatest(due, start) + taken, due)), else_=due)

    return {
        "rate_due": after(LimitRow.rate_due, pace("rate_gap")),
        "tokens_due": after(LimitRow.tokens_due, tokens * pace("tokens_gap")),
        "outstanding": LimitRow.outstanding - outstanding,
        "outstanding_tokens": LimitRow.outstanding_tokens - outstanding * tokens,
        "used": LimitRow.used - case((is_paid, _ZERO), else_=holds),
        # One that is refused in a cooldown held the limit before it, and does so no longer.
        "carried": case((is_paid, LimitRow.carried), else_=greatest(LimitRow.carried - holds, _ZERO)),
    }


def _begun(is_taken: Any, start: Any) -> dict[str, Any]:
    """Return the values of a job that was claimed and paid, or was claimed so before."""
    is_new = JobRow.status == JobStatus.QUEUED
    return {
        "status": case((is_taken, JobStatus.RUNNING), else_=JobStatus.BLOCKED),
        "attempt": JobRow.attempt + case((and_(is_new, is_taken), _ONE), else_=_ZERO),
        "claim_token": case((is_taken, TOKEN), else_=JobRow.claim_token),
        "worker_id": case((is_taken, WORKER), else_=JobRow.worker_id),
        "started_at": case((and_(is_new, is_taken), time_at(start)), else_=JobRow.started_at),
        "deadline_at": case((is_taken, DEADLINE_AT), else_=JobRow.deadline_at),
        "is_outstanding": false(),
    }


def _refused(is_taken: Any, limit: Any) -> dict[str, Any]:
    """Return the values of a job that stands in the line of *limit* again, unless it was taken."""
    return {
        "held": case((is_taken, JobRow.held), else_=_ZERO),
        "blocked_by": case((is_taken, null()), else_=BlockedBy.LIMIT),
        "blocked_on": case((is_taken, null()), else_=limit),
    }


def _one_statement() -> Prepared:
    """PostgreSQL's: CTEs that take their rows from each other, in this order."""
    locked = _JOB.with_for_update(key_share=True).cte("job")
    of_job = _Job(
        *(locked.c.limits, locked.c.tokens, locked.c.held, locked.c.is_outstanding),
        lambda expression: select(expression).select_from(locked).scalar_subquery(),
    )
    # Not the subquery alone: after ANY that would be one of names, not of a list of them.
    names = select(locked.c.limits).where(locked.c.status == JobStatus.QUEUED).scalar_subquery()
    is_its_limit = LimitRow.name == func.any(func.coalesce(names, literal_column("'{}'")))
    paces = (
        select(*(column.label(name) for name, column in _PACE.items()))
        .where(is_its_limit)
        .order_by(in_code_order(LimitRow.name))
        .with_for_update(key_share=True)
        .cte("paces")
    )
    # After all are locked, for which it may have waited.
    counted = select(func.count().label("count")).select_from(paces).subquery("counted")
    read = select(clock().label("at")).select_from(counted).cte("read")
    at = select(read.c.at).scalar_subquery()
    tokens = func.coalesce(of_job.value(item_for(locked.c.limits, paces.c.name, locked.c.tokens)), _ZERO)
    waits = select(paces.c.name, _wait(paces.c, tokens, at).label("seconds")).cte("waits")
    longest = select(waits.c.name, waits.c.seconds).order_by(waits.c.seconds.desc()).limit(_ONE).cte("longest")
    seconds = select(longest.c.seconds).scalar_subquery()
    # A limit that is not there any more holds nothing back.
    is_paid = func.coalesce(seconds <= LOOK_AHEAD, true())

    def pace(name: str) -> Any:
        return select(paces.c[name]).where(paces.c.name == LimitRow.name).scalar_subquery()

    paid = (
        update(LimitRow)
        .where(is_its_limit)
        .values(_paid(of_job, pace, is_paid, at + seconds))
        .returning(LimitRow.name)
        .cte("paid")
    )
    is_taken = (JobRow.status == JobStatus.RUNNING) | is_paid
    refused_by = select(longest.c.name).scalar_subquery()
    begun = (
        update(JobRow)
        .where(JobRow.id == select(locked.c.id).scalar_subquery())
        .values(_begun(is_taken, at + seconds) | _refused(is_taken, refused_by))
        .returning(*taken(RESULT_BEFORE, SUCCESSORS), *_CLAIMED)
        .cte("begun")
    )
    return Prepared(select(*begun.c).add_cte(paid))


_CLAIM = _one_statement()

_row = _Job(
    *(JobRow.limits, JobRow.tokens, JobRow.held, JobRow.is_outstanding),
    lambda expression: select(expression).where(JobRow.id == JOB_ID).scalar_subquery(),
)
_names = func.json_each(_row.value(JobRow.limits)).table_valued("value", name="names")
_is_its_limit = LimitRow.name.in_(select(_names.c.value))
_IS_PAID, _IS_TAKEN = bindparam("is_paid", type_=Boolean()), bindparam("is_taken", type_=Boolean())
_START = bindparam("start", type_=Float())
_tokens = func.coalesce(_row.value(item_for(JobRow.limits, LimitRow.name, JobRow.tokens)), _ZERO)
# SQLite's: one after the other, in a transaction that nobody else writes beside.
_FIND = Prepared(_JOB)
_WAITS = Prepared(
    select(LimitRow.name, _wait(SimpleNamespace(**_PACE), _tokens, clock()).label("seconds"), clock().label("at"))
    .where(_is_its_limit)
    .order_by(literal_column("seconds").desc())
)
_PAY = Prepared(update(LimitRow).where(_is_its_limit).values(_paid(_row, _PACE.__getitem__, _IS_PAID, _START)))
_BEGIN = Prepared(
    update(JobRow)
    .where(JobRow.id == JOB_ID)
    .values(_begun(_IS_TAKEN, _START) | _refused(_IS_TAKEN, bindparam("refused_by", type_=String())))
    .returning(*taken(RESULT_BEFORE, null()), *_CLAIMED)
)


def claim_paying(
    tx: Transaction,
    job_id: uuid.UUID,
    step: str | None,
    worker_id: uuid.UUID,
    token: int,
    sent_to: str | None = None,
) -> AnyRow | None:
    """Queued to running, counting the attempt, for a job that has paid for its start; or back to its line.

    Arguments and result are as for ``claim``; the row has ``begins_in`` and ``tokens`` too. One statement on
    PostgreSQL. None also where the start is not due: then its line is awaited after the commit.
    """
    values = {"job_id": job_id, "named": step, "worker": worker_id, "token": token, "sent_to": sent_to}
    if tx.connection.dialect.name == "postgresql":
        row = _CLAIM.one_or_none(tx.connection, values)
    else:
        row = _claim_in_steps(tx, values)
    if row is not None and row.status == JobStatus.BLOCKED:
        tx.then(Enter(row.blocked_on, row.tenant))
        return None
    return row


def _claim_in_steps(tx: Transaction, values: dict[str, Any]) -> AnyRow | None:
    job = _FIND.one_or_none(tx.connection, values)
    if job is None:
        return None
    is_paid, start, limit = True, 0.0, None
    if job.status == JobStatus.QUEUED:
        waits = _WAITS.all(tx.connection, values)
        if waits:
            longest = waits[0]
            is_paid, start, limit = longest.seconds <= LOOK_AHEAD, longest.at + longest.seconds, longest.name
            _PAY.count(tx.connection, values | {"is_paid": is_paid, "start": start})
    chosen = {"is_taken": is_paid, "start": start, "refused_by": limit}
    return _BEGIN.one_or_none(tx.connection, values | chosen)
