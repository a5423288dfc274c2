"""Ticks that a person asks for: one now, and those of a time that is past."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger.db.types import AnyRow
from agentq.ledger.moves import schedules as moves
from agentq.ledger.ticks import begin, graph_of, plan_tick, start_all, timing_of
from agentq.ledger.transaction import Transaction
from agentq.states import Overlap, ScheduleAction


@dataclass(frozen=True, slots=True)
class Triggered:
    """The result of a tick that a person asked for: the workflow, or None where it is owed."""

    workflow_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The ticks of a time that is past, and how many workflows were started for them now."""

    ticks: Sequence[datetime]
    started: int


def trigger(
    tx: Transaction, tenant: str, name: str, *, actor: str, reason: str, action_id: uuid.UUID
) -> Triggered | None:
    """Start the workflow of a schedule now, as its overlap says, also while it is paused.

    None where there is no such schedule. Raises StateConflict where an earlier workflow is open, and
    the overlap lets no other begin.
    """
    there = moves.lock_schedule(tx, tenant, name)
    if there is None:
        return None
    tick = plan_tick(there, graph_of(there.canvas), there.read_at, f"schedule:{name}:now:{action_id}")
    if moves.find_change(tx, action_id) is not None:
        return Triggered(there.last_workflow_id)
    is_busy = there.owed_for is not None or moves.is_open(tx, there.last_workflow_id)
    if is_busy and (there.overlap == Overlap.SKIP or there.owed_for is not None):
        raise StateConflict(
            f"schedule {name}",
            expected=["without an open workflow, as its overlap is 'skip' or one is owed already"],
            found=f"busy with workflow {there.last_workflow_id}",
            next_step=f"Wait for its end, or: agentq workflows cancel {there.last_workflow_id}",
        )
    started = begin(tx, there, there, [tick], None)
    moves.note_change(tx, there, ScheduleAction.TRIGGER, actor=actor, reason=reason, action_id=action_id)
    return Triggered(started[0] if started else None)


def backfill(
    tx: Transaction,
    tenant: str,
    name: str,
    first: datetime,
    last: datetime,
    most: int,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID,
) -> Backfilled | None:
    """Start the workflow of each tick from *first* to *last* that has none, side by side; None as ``trigger``.

    Raises InvalidArguments for a time to come, and for more than *most* ticks.
    """
    there = moves.lock_schedule(tx, tenant, name)
    if there is None:
        return None
    if last > there.read_at:
        raise InvalidArguments(
            f"the backfill would end at {last:%Y-%m-%d %H:%M:%S} UTC, but it is "
            f"{there.read_at:%Y-%m-%d %H:%M:%S} UTC by the ledger's clock; give a time that is past"
        )
    ticks = _ticks(there, first, last, most)
    graph = graph_of(there.canvas)
    started = start_all(tx, [plan_tick(there, graph, at) for at in ticks])
    if moves.find_change(tx, action_id) is None:
        moves.note_change(
            *(tx, there, ScheduleAction.BACKFILL),
            actor=actor,
            reason=reason,
            action_id=action_id,
            details=f"{len(ticks)} ticks from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}",
        )
    return Backfilled(ticks, sum(one.is_new for one in started))


def _ticks(there: AnyRow, first: datetime, last: datetime, most: int) -> list[datetime]:
    ticks: list[datetime] = []
    for at in timing_of(there).between(first, last):
        if len(ticks) == most:
            raise InvalidArguments(
                f"there are more than {most} ticks from {first:%Y-%m-%d %H:%M:%S} to "
                f"{last:%Y-%m-%d %H:%M:%S} UTC; give a shorter time, or allow more, up to 1000"
            )
        ticks.append(at)
    return ticks
