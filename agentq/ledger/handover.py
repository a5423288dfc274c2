"""Hand-over: in the transaction that records a job's outcome, make the jobs that waited for it ready.

A job that failed for good is buried in the same way: its dead letter is opened, and its workflow stops, or the
fan-in that the job is a part of goes on without that part.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, func, select

from agentq.exceptions import CanvasError
from agentq.ledger import transition
from agentq.ledger.gathering import gather
from agentq.ledger.growth import Fed, Place, Planting
from agentq.ledger.history import note_interrupted
from agentq.ledger.insertion import insert_jobs
from agentq.ledger.models import JobRow
from agentq.ledger.records import Bell, bell
from agentq.ledger.types import AnyRow
from agentq.outcomes import Failure
from agentq.states import MISSING_PARTS, JobKind, JobStatus, OnFailure, WorkflowStatus
from agentq.workflows.graph import Graph
from agentq.workflows.needs import are_enough, worded

LATE = Failure("deadline_exceeded", "agentq.DeadlineExceeded", "its fan-in did not wait for it any longer")
LEFT_BEHIND = Failure("cancelled", "agentq.Cancelled", "its fan-in has gone on without it")


@dataclass(frozen=True, slots=True)
class Done:
    """A job that has just succeeded. ``result`` is None for joins: theirs is gathered where it is needed."""

    job_id: uuid.UUID
    workflow_id: uuid.UUID
    join_id: uuid.UUID | None
    is_last: bool
    result: str | None = None


def hand_over(connection: Connection, *done: Done, may_refuse: bool = False) -> list[Bell]:
    """Make ready what waited for *done*, and on through joins; returns the bells to ring after the commit.

    An ``each`` whose branch only a newer release can read fails; where the caller *may_refuse* it raises
    CanvasError, so that the job before it can be done again once a newer release is there.
    """
    bells: list[Bell] = []
    finished = list(done)
    while finished:
        job = finished.pop()
        for row in () if job.is_last else transition.ready_successors(connection, job.job_id):
            if row.kind == JobKind.EACH:
                finished += _grow_after(connection, row, job, bells, may_refuse)
            elif row.kind == JobKind.JOIN:
                finished += _finish_if_complete(connection, row)
            elif row.status == JobStatus.QUEUED:
                bells.append(bell(row))
        if job.join_id is not None:
            finished += _count_into(connection, job.join_id)
        if job.is_last:
            transition.end_workflow(connection, job.workflow_id, WorkflowStatus.SUCCEEDED)
    return bells


def bury(connection: Connection, dead: AnyRow, *, needs_person: bool = False) -> list[Bell]:
    """Open the dead letter of a job that has just failed for good; returns the bells of what goes on without it.

    *dead* has the columns of ``transition.DEAD``. Where the workflow stops, what depends on the job keeps waiting:
    after a replay it goes on where it stopped.
    """
    transition.open_letter(connection, dead.id, needs_person=needs_person)
    if dead.on_failure == OnFailure.CONTINUE:
        return go_on_without(connection, dead)
    if dead.on_failure == OnFailure.FAIL:
        transition.cancel_jobs(connection, dead.workflow_id)
    transition.fail_workflow(connection, dead.workflow_id, dead.id)
    if dead.on_failure == OnFailure.FAIL:
        while transition.cancel_jobs(connection, dead.workflow_id):
            pass  # branches that an each was growing when the first statement looked
        note_interrupted(connection, dead.workflow_id)
    return []


def go_on_without(connection: Connection, lost: AnyRow) -> list[Bell]:
    """Go on without a job that will give no result, as ``bury`` does; *lost* has the columns of DEAD."""
    if lost.part_id is None:  # what comes after it takes nothing from it
        return hand_over(connection, Done(lost.id, lost.workflow_id, None, False, "null"))
    return hand_over(connection, *_lose_part(connection, lost.part_id, lost.workflow_id))


def leave_out(connection: Connection, job: AnyRow, why: Failure) -> list[Bell]:
    """Cancel the part of a fan-in that a job is of, and go on without it; *job* has the columns of DEAD."""
    transition.cancel_parts(connection, [job.part_id], why)
    note_interrupted(connection, job.workflow_id)
    return go_on_without(connection, job)


def close_fan_in(connection: Connection, fan_in: uuid.UUID, workflow_id: uuid.UUID) -> list[Bell]:
    """Let a fan-in whose time is over wait no longer: what is not done counts as missing and is cancelled."""
    undone = (JobRow.join_id == fan_in, JobRow.status != JobStatus.SUCCEEDED, JobRow.is_missing.is_(False))
    members = select(JobRow.id).where(*undone).order_by(JobRow.id)
    if not transition.lock_late(connection, fan_in, connection.scalars(members).all()):
        return []
    late = connection.scalars(members).all()  # others may have ended until they were locked
    row = transition.close_fan_in(connection, fan_in, late)
    transition.cancel_parts(connection, late, LATE)
    note_interrupted(connection, workflow_id)
    transition.reopen_workflow(connection, workflow_id)
    return hand_over(connection, *_finish_if_complete(connection, row))


def dispatch_later(connection: Connection, bells: Iterable[Bell]) -> None:
    """Let a caretaker dispatch what became ready: for people's commands, which may have no way to the broker."""
    transition.schedule_now(connection, [bell.job_id for bell in bells])


def wait_again(connection: Connection, job_id: uuid.UUID) -> list[uuid.UUID] | None:
    """Let the fan-in that lacks a job's part wait for it again, now that the job lives again.

    Returns the fan-ins that do, from the inner one to the outer ones. None where nothing waits for the job any
    more: its fan-in has gone on, or what the workflow needs was cancelled.
    """
    job = connection.execute(select(*transition.DEAD).where(JobRow.id == job_id)).one()
    needed = (JobRow.workflow_id == job.workflow_id, JobRow.part_id.is_(None))
    cancelled = select(JobRow.id).where(*needed, JobRow.status == JobStatus.CANCELLED).limit(1)
    if connection.scalar(cancelled) is not None:
        return None
    if job.part_id is None:  # what comes after it, and takes nothing from it, may have gone on
        return None if job.on_failure == OnFailure.CONTINUE else []
    return _wait_for_part(connection, job.part_id)


def feed_again(connection: Connection, job: AnyRow) -> list[Bell]:
    """Grow an ``each``, or finish a fan-in of nothing, that was revived; *job* has its id and after_id.

    Nothing is done where it has members, or where the job before it is not done either.
    """
    if connection.scalar(select(JobRow.id).where(JobRow.join_id == job.id).limit(1)) is not None:
        return []
    if job.after_id is None:  # it was an item of another each, and no list
        return _fail_each(connection, job.id, _no_list("the item of the each() around it, which is none"))
    before = connection.execute(select(*transition.DEAD, JobRow.status).where(JobRow.id == job.after_id)).one()
    row = transition.ready(connection, job.id) if before.status == JobStatus.SUCCEEDED else None
    if row is None:
        return []
    bells: list[Bell] = []
    if row.kind == JobKind.EACH:
        done = _grow_after(connection, row, Done(before.id, before.workflow_id, None, False), bells)
    else:
        done = _finish_if_complete(connection, row)
    return bells + hand_over(connection, *done)


def go_on_short(connection: Connection, fan_in: AnyRow) -> list[Bell]:
    """Hand over what is there of a fan-in that has just succeeded without the parts that it needs."""
    return hand_over(connection, _done_without_missing(connection, fan_in))


def finish_empty(connection: Connection, planting: Planting, where: Place) -> list[Done]:
    """Finish the fan-ins of nothing that were just planted."""
    finished = []
    for row in planting.rows:
        if row["id"] in planting.empty and transition.finish_virtual(connection, row["id"]):
            finished.append(Done(row["id"], where.workflow_id, row["join_id"], row["is_last"]))
    return finished


def _grow_after(
    connection: Connection, each: AnyRow, before: Done, bells: list[Bell], may_refuse: bool = False
) -> list[Done]:
    items = gather(connection, before.job_id) if before.result is None else before.result
    try:
        template = Graph.from_data(json.loads(each.template))
    except CanvasError as error:
        if may_refuse:
            raise
        why = Failure("definition", "agentq.exceptions.CanvasError", str(error))
        bells += _fail_each(connection, each.id, why)
        return []
    fed = Fed(each.id, template, json.loads(items), each.part_id)
    place = Place(each.workflow_id, each.tenant, is_plain=each.is_plain and each.join_id is None)
    return _grow(connection, fed, place, each.dispatched_at, bells)


def _grow(connection: Connection, fed: Fed, where: Place, rung_at: datetime, bells: list[Bell]) -> list[Done]:
    if not isinstance(fed.items, list):
        bells += _fail_each(connection, fed.each_id, _no_list(type(fed.items).__name__))
        return []
    planting = Planting()
    for position, item in enumerate(fed.items):
        branch = replace(where, join_id=fed.each_id, position=position, part_id=fed.part_id)
        planting.plant(fed.template, branch, (item,))
    insert_jobs(connection, planting.rows)
    bells += planting.bells(rung_at)
    row = transition.count_on(connection, fed.each_id, len(fed.items))
    finished = _finish_if_complete(connection, row) + finish_empty(connection, planting, where)
    for inner in planting.fed:
        finished += _grow(connection, inner, replace(where, is_plain=False), rung_at, bells)
    return finished


def _no_list(got: str) -> Failure:
    message = f"each() needs a list from the step before it, but got {got}; return a list there"
    return Failure("invalid_input", "agentq.exceptions.InvalidArguments", message)


def _fail_each(connection: Connection, each_id: uuid.UUID, why: Failure) -> list[Bell]:
    dead = transition.fail_virtual(connection, each_id, why)
    return [] if dead is None else bury(connection, dead)


def _count_into(connection: Connection, join_id: uuid.UUID) -> list[Done]:
    row = transition.count_down(connection, join_id)
    return _finish_if_complete(connection, row)


def _finish_if_complete(connection: Connection, row: AnyRow | None) -> list[Done]:
    if row is None or row.remaining > 0:
        return []
    if row.missing and not _has_enough(connection, row):
        return _leave_unmet(connection, row)
    if not transition.finish_virtual(connection, row.id):
        return []
    return [_done_without_missing(connection, row)]


def _done_without_missing(connection: Connection, row: AnyRow) -> Done:
    if row.missing:
        missing = connection.scalars(select(JobRow.id).where(JobRow.join_id == row.id, JobRow.is_missing)).all()
        if transition.cancel_parts(connection, missing, LEFT_BEHIND):
            note_interrupted(connection, row.workflow_id)
    return Done(row.id, row.workflow_id, row.join_id, row.is_last)


def _lose_part(connection: Connection, part_id: uuid.UUID, workflow_id: uuid.UUID) -> list[Done]:
    fan_in = transition.mark_missing(connection, part_id)
    # What stopped the workflow may be in the part that it now goes on without.
    transition.reopen_workflow(connection, workflow_id)
    return _finish_if_complete(connection, fan_in)


def _has_enough(connection: Connection, fan_in: AnyRow) -> bool:
    return are_enough(fan_in.needs, _members(connection, fan_in), fan_in.missing)


def _members(connection: Connection, fan_in: AnyRow) -> int:
    return connection.scalar(select(func.count()).where(JobRow.join_id == fan_in.id)) or 0


def _leave_unmet(connection: Connection, fan_in: AnyRow) -> list[Done]:
    """The fan-in lacks too many parts, a dead letter: the fan-in around it lacks it, or the workflow stops."""
    lacks = f"{fan_in.missing} of its {_members(connection, fan_in)} parts are missing"
    why = Failure(MISSING_PARTS, "agentq.MissingParts", f"{lacks}, but it needs {worded(fan_in.needs)}")
    if transition.fail_virtual(connection, fan_in.id, why) is None:
        return []
    transition.open_letter(connection, fan_in.id, needs_person=False)
    if fan_in.on_failure == OnFailure.CONTINUE:
        return _lose_part(connection, fan_in.part_id, fan_in.workflow_id)
    transition.fail_workflow(connection, fan_in.workflow_id, fan_in.id)
    return []


def _wait_for_part(connection: Connection, part_id: uuid.UUID) -> list[uuid.UUID] | None:
    transition.lock_part(connection, part_id)
    of_part = select(JobRow.id).where(JobRow.part_id == part_id)
    if connection.scalar(of_part.where(JobRow.status == JobStatus.CANCELLED).limit(1)):
        return None
    lost = (JobRow.status == JobStatus.FAILED, JobRow.on_failure == OnFailure.CONTINUE)
    if connection.scalar(of_part.where(*lost).limit(1)):
        return []  # another job of it is dead too: it stays missing until that one lives again
    if not connection.scalar(select(JobRow.is_missing).where(JobRow.id == part_id)):
        return []
    fan_in = transition.unmark_missing(connection, part_id)
    if fan_in is None:
        return None
    around = connection.execute(select(*transition.DEAD).where(JobRow.id == fan_in)).one()
    if around.on_failure != OnFailure.CONTINUE:
        return [fan_in]
    outer = _wait_for_part(connection, around.part_id)
    return None if outer is None else [fan_in, *outer]
