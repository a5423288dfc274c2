"""The claim: a queued job becomes running, for one worker."""

from __future__ import annotations

import random
import uuid
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, now, seconds_from_now
from agentq.ledger.models import JobRow
from agentq.ledger.moves.shared import IS_UNNAMED, JOB_ID, columns
from agentq.ledger.records import SUCCESSOR, Claim, columns_of
from agentq.ledger.transaction import Transaction
from agentq.states import RUNNABLE, JobKind, JobStatus

_before = aliased(JobRow)
# Named in full: within RETURNING, SQLAlchemy drops the table's name on SQLite.
_AFTER_ID = literal_column("agentq_jobs.after_id", Uuid())
_SENT_TO = bindparam("sent_to", type_=String())
_NAMED = bindparam("named", type_=String())
TOKEN, WORKER = bindparam("token", type_=BigInteger()), bindparam("worker", type_=Uuid())
_TAKEN = (
    *columns(columns_of(Claim)),
    # Where the claim's input comes from.
    JobRow.immutable,
    JobRow.after_id,
)


DEADLINE_AT = case(
    (and_(JobRow.deadline.is_not(None), JobRow.deadline_at.is_(None)), seconds_from_now(JobRow.deadline)),
    else_=JobRow.deadline_at,
)
"""The time of a job's deadline, which the first claim sets."""


def taken(result_before: Any, successors: Any) -> tuple[Any, ...]:
    """Return the columns of a claim: those of the job, the result it starts from, and its successors as JSON."""
    inputs = case((JobRow.immutable.is_(False), result_before)).label("inputs")
    return (*_TAKEN, inputs, successors.label("successors"))


def claimable(ready: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions under which a message may claim its job; *ready* says that the job may begin now."""
    return (
        JobRow.id == JOB_ID,
        # The message has no authority: its name must be the job's, or the carrier's for a plain task.
        # A kind that only a newer release knows is for a worker of that one, whatever its name.
        case(
            (JobRow.kind == JobKind.TASK, _NAMED.is_(None)),
            (JobRow.kind == JobKind.STEP, JobRow.step == _NAMED),
            else_=false(),
        ),
        # Since it was sent, the job may have been moved to another queue.
        or_(_SENT_TO.is_(None), JobRow.queue == _SENT_TO),
        # The second arm recognises a claim of mine whose commit got no answer.
        or_(
            and_(
                ready,
                JobRow.attempt < JobRow.max_attempts,
                or_(JobRow.expires_at.is_(None), JobRow.expires_at > now()),
            ),
            and_(JobRow.status == JobStatus.RUNNING, JobRow.claim_token == TOKEN),
        ),
    )


def _claiming(ready: Any, result_before: Any, successors: Any, began_at: Any) -> Prepared:
    return Prepared(
        update(JobRow)
        .where(*claimable(ready))
        .values(
            status=JobStatus.RUNNING,
            attempt=JobRow.attempt + case((JobRow.status == JobStatus.RUNNING, 0), else_=1),
            claim_token=TOKEN,
            worker_id=WORKER,
            started_at=began_at,
            deadline_at=DEADLINE_AT,
        )
        .returning(*taken(result_before, successors))
    )


_is_queued = and_(JobRow.status == JobStatus.QUEUED, ~JobRow.pays)
RESULT_BEFORE = select(_before.result).where(_before.id == _AFTER_ID).scalar_subquery()
_CLAIM = _claiming(_is_queued, RESULT_BEFORE, null(), now())

# Of a job whose limits cannot be named, as its arguments do not let them: for an attempt that fails, or leaves it.
_CLAIM_UNNAMED = _claiming(and_(JobRow.status == JobStatus.QUEUED, IS_UNNAMED), RESULT_BEFORE, null(), now())

# The jobs that wait for this job alone, so that a message can be published while the database commits the
# hand-over.
_next = aliased(JobRow)
_two_next = (
    select(*columns(SUCCESSOR, _next))
    .where(
        _next.after_id == literal_column("agentq_jobs.id", Uuid()),
        _next.status == JobStatus.WAITING,
        _next.kind.in_(sorted(RUNNABLE)),
        _next.limits.is_(None),  # it has to wait for its slots
        _next.delay.is_(None),
        _next.due_at.is_(None),
    )
    .limit(2)
    .subquery("two_next")
)
SUCCESSORS = case(
    (
        and_(JobRow.is_plain, JobRow.is_last.is_(False), JobRow.join_id.is_(None)),
        select(cast(func.json_agg(func.json_build_array(*_two_next.c)), Text())).scalar_subquery(),
    )
)
_CLAIM_KNOWING_NEXT = _claiming(_is_queued, RESULT_BEFORE, SUCCESSORS, now())

# For an early dispatch: the lock waits for the hand-over of the job before, and finds its
# result, which this statement's own snapshot may be too old for. Then the job's own row is read anew too.
_done_before = (
    select(JobRow.status, JobRow.result, JobRow.finished_at)
    .where(JobRow.id == bindparam("after", type_=Uuid()))
    .with_for_update(read=True)
    .cte("done_before")
)
_is_handed_over = and_(
    JobRow.after_id == bindparam("after", type_=Uuid()),
    JobRow.status.in_([JobStatus.WAITING, JobStatus.QUEUED]),
    ~JobRow.pays,
    select(_done_before.c.status).scalar_subquery() == JobStatus.SUCCEEDED,
)
# The statement that waits may be older than the one that it waits for.
_began_after = func.greatest(now(), select(_done_before.c.finished_at).scalar_subquery())
_CLAIM_EARLY = _claiming(
    _is_handed_over, select(_done_before.c.result).scalar_subquery(), SUCCESSORS, _began_after
)


def claim(
    tx: Transaction,
    job_id: uuid.UUID,
    step: str | None,
    worker_id: uuid.UUID,
    token: int,
    early_after: uuid.UUID | None = None,
    sent_to: str | None = None,
) -> AnyRow | None:
    """Queued to running, counting the attempt. None: another worker has it, it has to pay, or it is not to be run.

    *early_after* is the job before it, where the message was published before that one's hand-over was committed:
    this waits for that commit, if it is on its way. *sent_to* is the queue that the message was sent to, where it
    says.
    """
    values = {"job_id": job_id, "named": step, "worker": worker_id, "token": token, "sent_to": sent_to}
    if tx.connection.dialect.name != "postgresql":
        return _CLAIM.one_or_none(tx.connection, values)
    if early_after is None:
        return _CLAIM_KNOWING_NEXT.one_or_none(tx.connection, values)
    return _CLAIM_EARLY.one_or_none(tx.connection, values | {"after": early_after})


def claim_unnamed(
    tx: Transaction,
    job_id: uuid.UUID,
    step: str | None,
    worker_id: uuid.UUID,
    token: int,
    sent_to: str | None = None,
) -> AnyRow | None:
    """Queued to running, as ``claim``, for a job whose limits cannot be named: its attempt is not to run."""
    values = {"job_id": job_id, "named": step, "worker": worker_id, "token": token, "sent_to": sent_to}
    return _CLAIM_UNNAMED.one_or_none(tx.connection, values)


def new_claim_token() -> int:
    """Return a number that distinguishes this claim from any other, also after a lost reply."""
    return random.getrandbits(62)
