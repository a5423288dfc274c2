"""Hand-over: in the transaction that records a job's outcome, make the jobs that waited for it ready.

``hand_over`` takes jobs that have just succeeded. Each one makes the jobs after it ready, and counts down the
fan-in of which it is a member. A fan-in that is complete, and an ``each`` of an empty list, succeed at once,
without a worker, and are handed over in their turn. An ``each`` that gets its list is expanded here: its branches
become rows, and it waits for them as a fan-in does. The last job of a workflow ends it.

A job that failed for good takes the other way: ``fail_for_good`` opens its dead letter. Then the workflow stops,
or the fan-in to which the job leads counts that member as missing. When each member is done or missing, a fan-in
with enough members goes on without the others. One with too few fails itself, and the same follows for the fan-in
around it. In a postponed workflow both wait for the let-in. A replay is the way back: ``wait_again`` removes the
mark of the missing member, unless its fan-in has gone on.

A member is locked before its fan-in, an inner fan-in before an outer one, and the workflow last, so that two
hand-overs do not wait for each other in a circle: what they make of the workflow is noted, and
``moves.change_workflows`` writes it. A decision about a dead letter locks jobs in this order too, by
``moves.lock_for_decision``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select

from agentq.canvas.graph import Graph
from agentq.canvas.needs import are_enough, worded
from agentq.exceptions import CanvasError
from agentq.ledger import moves
from agentq.ledger.after_commit import Declare, Enter
from agentq.ledger.db.types import AnyRow
from agentq.ledger.history import end_cancelled
from agentq.ledger.insertion import insert_jobs
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.records import dispatch_of
from agentq.ledger.results import collect_results
from agentq.ledger.rows import EachInput, InsertionPoint, RowBuilder
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import MISSING_MEMBERS, JobKind, JobStatus, OnFailure

LATE = Failure("deadline_exceeded", "agentq.DeadlineExceeded", "its fan-in did not wait for it any longer")
FAN_IN_CONTINUED = Failure("cancelled", "agentq.Cancelled", "its fan-in has gone on without it")


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has just succeeded. ``result`` is None for joins: theirs is collected where it is needed."""

    job_id: uuid.UUID
    workflow_id: uuid.UUID
    join_id: uuid.UUID | None
    is_last: bool
    result: str | None = None


def hand_over(tx: Transaction, *done: Done, may_refuse: bool = False) -> None:
    """Make ready and dispatch what waited for *done*, and on through joins.

    An ``each`` whose branch only a newer release can read fails; where the caller *may_refuse* it raises
    CanvasError, so that the job before it can be done again once a newer release is there.
    """
    finished = list(done)
    while finished:
        job = finished.pop()
        for row in () if job.is_last else moves.ready_successors(tx, job.job_id):
            if row.kind == JobKind.EACH:
                finished += _expand_after(tx, row, job, may_refuse)
            elif row.kind == JobKind.JOIN:
                finished += _finish_if_complete(tx, row)
            else:
                dispatch_queued(tx, [row])
        if job.join_id is not None:
            finished += _count_into(tx, job.join_id)
        if job.is_last:
            moves.succeed_workflow(tx, job.workflow_id)


def dispatch_queued(tx: Transaction, jobs: Iterable[AnyRow]) -> None:
    """Dispatch those of *jobs* that became queued, and let others wait for their limit.

    Each has the columns of ``moves.DISPATCH``.
    """
    for job in jobs:
        if job.status == JobStatus.QUEUED:
            tx.dispatch(dispatch_of(job))
        elif job.status == JobStatus.BLOCKED and job.blocked_on is not None:
            tx.then(Enter(job.blocked_on, job.tenant))


def fail_for_good(tx: Transaction, dead: AnyRow, *, needs_person: bool = False) -> None:
    """Open the dead letter of a job that has just failed for good, and dispatch what goes on without it.

    *dead* has the columns of ``moves.DEAD``. Where the workflow stops, what depends on the job keeps waiting:
    after a replay it goes on where it stopped.
    """
    moves.open_letter(tx, dead.id, needs_person=needs_person)
    if dead.on_failure == OnFailure.CONTINUE:
        go_on_without(tx, dead)
        return
    if dead.on_failure == OnFailure.STOP:
        moves.stop_workflow(tx, dead.workflow_id, dead.id)
        return
    moves.cancel_jobs(tx, dead.workflow_id)
    moves.fail_workflow(tx, dead.workflow_id, dead.id)
    while moves.cancel_jobs(tx, dead.workflow_id):
        pass  # branches to which an each was being expanded when the first statement read
    end_cancelled(tx, dead.workflow_id)


def go_on_without(tx: Transaction, lost: AnyRow) -> None:
    """Go on without a job that will give no result, as ``fail_for_good`` does; *lost* has the columns of DEAD."""
    if lost.part_id is None:  # what comes after it takes nothing from it
        hand_over(tx, Done(lost.id, lost.workflow_id, None, False, "null"))
    else:
        hand_over(tx, *_lose_member(tx, lost.part_id, lost.workflow_id))


def drop_member(tx: Transaction, job: AnyRow, why: Failure) -> None:
    """Cancel the member of a fan-in that a job leads to, and go on without it; *job* has the columns of DEAD."""
    moves.cancel_members(tx, [job.part_id], why)
    end_cancelled(tx, job.workflow_id)
    go_on_without(tx, job)


def close_fan_in(tx: Transaction, fan_in: uuid.UUID, workflow_id: uuid.UUID) -> None:
    """Let a fan-in whose time is over wait no longer: what is not done counts as missing and is cancelled."""
    undone = (JobRow.join_id == fan_in, JobRow.status != JobStatus.SUCCEEDED, JobRow.is_missing.is_(False))
    members = select(JobRow.id).where(*undone).order_by(JobRow.id)
    if not moves.lock_late(tx, fan_in, tx.connection.scalars(members).all()):
        return
    late = tx.connection.scalars(members).all()  # others may have ended until they were locked
    row = moves.close_fan_in(tx, fan_in, late)
    moves.cancel_members(tx, late, LATE)
    end_cancelled(tx, workflow_id)
    moves.reopen_workflow(tx, workflow_id)
    hand_over(tx, *_finish_if_complete(tx, row))


def wait_again(tx: Transaction, job_id: uuid.UUID) -> list[uuid.UUID] | None:
    """Let the fan-in that misses a job's member wait for it again, now that the job is revived.

    All of them are locked: by ``moves.lock_for_decision``.

    Returns the fan-ins that do, from the inner one to the outer ones. None where nothing waits for the job any
    more: its fan-in has gone on, or what the workflow needs was cancelled.
    """
    job = tx.connection.execute(select(*moves.DEAD).where(JobRow.id == job_id)).one()
    needed = (JobRow.workflow_id == job.workflow_id, JobRow.part_id.is_(None))
    cancelled = select(JobRow.id).where(*needed, JobRow.status == JobStatus.CANCELLED).limit(1)
    if tx.connection.scalar(cancelled) is not None:
        return None
    if job.part_id is None:  # what comes after it, and takes nothing from it, may have gone on
        return None if job.on_failure == OnFailure.CONTINUE else []
    return _wait_for_member(tx, job.part_id)


def resume_fan_in(tx: Transaction, job: AnyRow) -> None:
    """Expand an ``each``, or finish a fan-in of nothing, that was revived; *job* has its id and after_id.

    Nothing is done where it has members, or where the job before it is not done either.
    """
    if tx.connection.scalar(select(JobRow.id).where(JobRow.join_id == job.id).limit(1)) is not None:
        return
    if job.after_id is None:  # it was an item of another each, and no list
        _fail_each(tx, job.id, _no_list("the item of the each() around it, which is none"))
        return
    before = tx.connection.execute(select(*moves.DEAD, JobRow.status).where(JobRow.id == job.after_id)).one()
    row = moves.ready(tx, job.id) if before.status == JobStatus.SUCCEEDED else None
    if row is None:
        return
    if row.kind == JobKind.EACH:
        done = _expand_after(tx, row, Done(before.id, before.workflow_id, None, False))
    else:
        done = _finish_if_complete(tx, row)
    hand_over(tx, *done)


def go_on_short(tx: Transaction, fan_in: AnyRow) -> None:
    """Hand over the results of a fan-in that has just succeeded without the members that it needs."""
    hand_over(tx, _done_without_missing(tx, fan_in))


def finish_complete(tx: Transaction, fan_ins: Iterable[AnyRow]) -> None:
    """End fan-ins of a workflow that is let in, and that wait for no member; each has the columns of FAN_IN."""
    for fan_in in fan_ins:
        hand_over(tx, *_finish_if_complete(tx, fan_in))


def finish_empty(tx: Transaction, builder: RowBuilder, where: InsertionPoint) -> list[Done]:
    """Finish the fan-ins of nothing that were just inserted."""
    finished = []
    for row in builder.rows:
        if row["id"] in builder.empty and moves.finish_fan_in(tx, row["id"]):
            finished.append(Done(row["id"], where.workflow_id, row["join_id"], row["is_last"]))
    return finished


def _expand_after(tx: Transaction, each: AnyRow, before: Done, may_refuse: bool = False) -> list[Done]:
    items = collect_results(tx.connection, before.job_id) if before.result is None else before.result
    try:
        template = Graph.from_data(json.loads(each.template))
    except CanvasError as error:
        if may_refuse:
            raise
        _fail_each(tx, each.id, Failure("definition", "agentq.exceptions.CanvasError", str(error)))
        return []
    each_input = EachInput(each.id, template, json.loads(items), each.part_id)
    point = InsertionPoint(each.workflow_id, each.tenant, is_plain=each.is_plain and each.join_id is None)
    return _expand(tx, each_input, point, each.dispatched_at)


def _expand(tx: Transaction, each_input: EachInput, where: InsertionPoint, dispatched_at: datetime) -> list[Done]:
    if not isinstance(each_input.items, list):
        _fail_each(tx, each_input.each_id, _no_list(type(each_input.items).__name__))
        return []
    builder = RowBuilder(None if tx.naming is None else tx.naming())
    for position, item in enumerate(each_input.items):
        branch = replace(where, join_id=each_input.each_id, position=position, part_id=each_input.part_id)
        builder.add(each_input.template, branch, (item,))
    insert_jobs(tx, builder.rows)
    if builder.meters:
        tx.then(Declare(tuple(builder.meters.items())))  # after the commit: limits are locked after all jobs
    tx.dispatch(*builder.dispatches(dispatched_at))
    tx.then(*builder.entered)
    row = moves.count_on(tx, each_input.each_id, len(each_input.items))
    finished = _finish_if_complete(tx, row) + finish_empty(tx, builder, where)
    for inner in builder.each_inputs:
        finished += _expand(tx, inner, replace(where, is_plain=False), dispatched_at)
    return finished


def _no_list(got: str) -> Failure:
    message = f"each() needs a list from the step before it, but got {got}; return a list there"
    return Failure("invalid_input", "agentq.exceptions.InvalidArguments", message)


def _fail_each(tx: Transaction, each_id: uuid.UUID, why: Failure) -> None:
    dead = moves.fail_fan_in(tx, each_id, why)
    if dead is not None:
        fail_for_good(tx, dead)


def _count_into(tx: Transaction, join_id: uuid.UUID) -> list[Done]:
    row = moves.count_down(tx, join_id)
    return _finish_if_complete(tx, row)


def _finish_if_complete(tx: Transaction, row: AnyRow | None) -> list[Done]:
    if row is None or row.remaining > 0:
        return []
    if row.missing:
        members, is_postponed = _members(tx, row)
        if is_postponed:  # its let-in decides
            return []
        if not are_enough(row.needs, members, row.missing):
            return _fail_unmet(tx, row, members)
    if not moves.finish_fan_in(tx, row.id):
        return []
    return [_done_without_missing(tx, row)]


def _done_without_missing(tx: Transaction, row: AnyRow) -> Done:
    if row.missing:
        missing = tx.connection.scalars(select(JobRow.id).where(JobRow.join_id == row.id, JobRow.is_missing)).all()
        if moves.cancel_members(tx, missing, FAN_IN_CONTINUED):
            end_cancelled(tx, row.workflow_id)
    return Done(row.id, row.workflow_id, row.join_id, row.is_last)


def _lose_member(tx: Transaction, part_id: uuid.UUID, workflow_id: uuid.UUID) -> list[Done]:
    fan_in = moves.mark_missing(tx, part_id)
    # The job that stopped the workflow may be in the member that it now goes on without.
    moves.reopen_workflow(tx, workflow_id)
    return _finish_if_complete(tx, fan_in)


def _members(tx: Transaction, fan_in: AnyRow) -> tuple[int, bool]:
    """Return the number of a fan-in's members, and whether its workflow is postponed. The fan-in is locked."""
    postponed_on = select(WorkflowRow.postponed_on).where(WorkflowRow.id == fan_in.workflow_id).scalar_subquery()
    counted = select(func.count(), postponed_on.is_not(None)).where(JobRow.join_id == fan_in.id)
    members, is_postponed = tx.connection.execute(counted).one()
    return members, is_postponed


def _fail_unmet(tx: Transaction, fan_in: AnyRow, members: int) -> list[Done]:
    """End a fan-in that misses too many *members*: it is a missing member itself, or the workflow stops."""
    lacks = f"{fan_in.missing} of its {members} members are missing"
    why = Failure(MISSING_MEMBERS, "agentq.MissingMembers", f"{lacks}, but it needs {worded(fan_in.needs)}")
    if moves.fail_fan_in(tx, fan_in.id, why) is None:
        return []
    moves.open_letter(tx, fan_in.id, needs_person=False)
    if fan_in.on_failure == OnFailure.CONTINUE:
        return _lose_member(tx, fan_in.part_id, fan_in.workflow_id)
    moves.stop_workflow(tx, fan_in.workflow_id, fan_in.id)
    return []


def _wait_for_member(tx: Transaction, part_id: uuid.UUID) -> list[uuid.UUID] | None:
    of_member = select(JobRow.id).where(JobRow.part_id == part_id)
    if tx.connection.scalar(of_member.where(JobRow.status == JobStatus.CANCELLED).limit(1)):
        return None
    lost = (JobRow.status == JobStatus.FAILED, JobRow.on_failure == OnFailure.CONTINUE)
    if tx.connection.scalar(of_member.where(*lost).limit(1)):
        return []  # another job of it is dead too: it stays missing until that one lives again
    if not tx.connection.scalar(select(JobRow.is_missing).where(JobRow.id == part_id)):
        return []
    fan_in = moves.unmark_missing(tx, part_id)
    if fan_in is None:
        return None
    around = tx.connection.execute(select(*moves.DEAD).where(JobRow.id == fan_in)).one()
    if around.on_failure != OnFailure.CONTINUE:
        return [fan_in]
    outer = _wait_for_member(tx, around.part_id)
    return None if outer is None else [fan_in, *outer]
