"""Pruning: delete workflows that ended long ago, so that the ledger does not grow for ever."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from agentq.exceptions import InvalidArguments
from agentq.ledger import retention, unused_limits
from agentq.ledger.db.session import Ledger
from agentq.ledger.retention import Over
from agentq.operations.checks import bounded, storable
from agentq.operations.schemas import Pruned
from agentq.states import WORKFLOW_FINAL, WorkflowStatus

MOST_WORKFLOWS = 100_000
_MOST_JOBS = 2_000
"""Jobs that one transaction deletes, unless a single workflow has more."""
_FIRST = uuid.UUID(int=0)


def prune(
    ledger: Ledger,
    *,
    older_than: float,
    status: WorkflowStatus | None = None,
    tenant: str | None = None,
    limit: int = MOST_WORKFLOWS,
    dry_run: bool = False,
) -> Pruned:
    """Delete workflows that ended long ago, with their jobs, attempts, actions and closed dead letters.

    Left alone is every workflow of which a job may still move or a dead letter is open. Dead letters of messages
    that were closed as long ago go too, unless a *status* is named. The keys of the workflows are free again.
    Limits that no job names any more, and no operator has changed, go last.

    It goes in transactions of about 2,000 jobs each, and pauses after each for as long as it took.

    Args:
        ledger: where.
        older_than: seconds since their end, by the ledger's clock. Keep it longer than the broker keeps messages
            (a Redis' visibility timeout): the message of a job that is gone would be recorded as one that no
            worker can take.
        status: only workflows that ended so: succeeded, failed or cancelled. Default: any of these.
        tenant: only those of this tenant.
        limit: the largest number of workflows.
        dry_run: delete nothing, and only say what would be.

    Returns how many were deleted. Run again after it was interrupted, it goes on. Raises InvalidArguments for a
    status that is no end, or an age that is no number of seconds.
    """
    older_than, tenant = bounded(older_than), storable(tenant)
    if status is not None and status not in WORKFLOW_FINAL:
        raise InvalidArguments(
            f"status is {status!r}, but only what has ended is pruned: {', '.join(sorted(WORKFLOW_FINAL))}"
        )
    statuses = sorted(WORKFLOW_FINAL) if status is None else [status]
    over = _over(ledger, statuses, older_than, tenant)
    deleted = [
        _counted(batch) if dry_run else _delete(ledger, batch, older_than)
        for batch in _batches(islice(over, limit))
    ]
    is_complete = next(over, None) is None
    messages = 0 if status is not None else _messages(ledger, older_than, tenant, dry_run=dry_run)
    workflows, jobs, letters = (sum(column) for column in zip((0, 0, messages), *deleted, strict=True))
    return Pruned(
        workflows=workflows,
        jobs=jobs,
        dead_letters=letters,
        limits=_limits(ledger, dry_run=dry_run),
        is_dry_run=dry_run,
        is_complete=is_complete,
    )


def _over(
    ledger: Ledger, statuses: Sequence[WorkflowStatus], older_than: float, tenant: str | None
) -> Iterator[Over]:
    for status in statuses:
        after: uuid.UUID | None = _FIRST
        while after is not None:
            read = partial(retention.read_page, status=status, after=after, older_than=older_than, tenant=tenant)
            seen = ledger.read(read)
            yield from seen.found
            after = seen.after


def _batches(over: Iterator[Over]) -> Iterator[list[Over]]:
    """Cut the finished workflows into batches for one transaction each."""
    batch: list[Over] = []
    jobs = 0
    for workflow in over:
        if batch and jobs + workflow.jobs > _MOST_JOBS:
            yield batch
            batch, jobs = [], 0
        batch.append(workflow)
        jobs += workflow.jobs
    if batch:
        yield batch


def _delete(ledger: Ledger, batch: list[Over], older_than: float) -> tuple[int, int, int]:
    began = time.monotonic()
    ids = [workflow.id for workflow in batch]
    gone = ledger.write(partial(retention.delete_workflows, ids=ids, older_than=older_than))
    time.sleep(time.monotonic() - began)  # half of the ledger's time is for all others
    return _counted([workflow for workflow in batch if workflow.id in gone])


def _counted(batch: list[Over]) -> tuple[int, int, int]:
    return len(batch), sum(workflow.jobs for workflow in batch), sum(workflow.dead_letters for workflow in batch)


def _messages(ledger: Ledger, older_than: float, tenant: str | None, *, dry_run: bool) -> int:
    if dry_run:
        return ledger.read(partial(retention.count_messages, older_than=older_than, tenant=tenant))
    deleted = 0
    while some := ledger.write(partial(retention.delete_messages, older_than=older_than, tenant=tenant)):
        deleted += some
    return deleted


def _limits(ledger: Ledger, *, dry_run: bool) -> int:
    if dry_run:
        return ledger.read(unused_limits.count)
    deleted = 0
    while some := ledger.write(unused_limits.delete_limits):
        deleted += some
    for limit in ledger.read(unused_limits.with_needless_turns):
        ledger.write(partial(unused_limits.delete_turns, limit=limit))
    return deleted
