"""The business's own table in the ledger's database, which refuses nothing: so what is written twice is seen."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select
from sqlalchemy.orm import Session

from agentq import Context
from agentq.ledger.models import JobRow
from agentq.states import JobStatus

RECEIPTS = Table("receipts", MetaData(), Column("job", String), Column("attempt", Integer), Column("step", String))


def write_receipt(ctx: Context, session: Session) -> None:
    """Note, in the transaction of *session*, that this attempt has completed the step."""
    session.execute(insert(RECEIPTS).values(job=ctx.job_id, attempt=ctx.attempt, step=ctx.step))


def wrong_receipts(connection: Connection, steps: set[str]) -> Iterator[str]:
    """Find what differs from one receipt for each of the *steps* that succeeded, by the attempt that did."""
    succeeded = connection.execute(
        select(JobRow.id, JobRow.attempt, JobRow.step).where(
            JobRow.step.in_(steps), JobRow.status == JobStatus.SUCCEEDED
        )
    )
    wanted = sorted((str(job.id), job.attempt, job.step) for job in succeeded)
    found = sorted(tuple(receipt) for receipt in connection.execute(select(RECEIPTS)))
    if found != wanted:
        yield f"there are the receipts {found}, where there should be {wanted}"
