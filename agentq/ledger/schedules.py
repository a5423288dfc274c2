"""Schedules: their definitions, of which the newest holds, and what people decide about them."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ids import new_id
from agentq.ledger import moves as all_moves
from agentq.ledger.db.types import AnyRow
from agentq.ledger.moves import schedules as moves
from agentq.ledger.ticks import graph_of
from agentq.ledger.transaction import Transaction
from agentq.policies.limits import Meters
from agentq.policies.ticks import Timing
from agentq.states import Overlap, ScheduleAction

_OF_TIMES = ("cron", "every", "timezone")
_SHOWN = (*_OF_TIMES, "overlap", "catch_up", "catch_up_window")
_BY_CODE = "newer code has another definition"


@dataclass(frozen=True)
class Definition:
    """A schedule as code declares it: its canvas as the JSON text of a graph, its times, and what it does when."""

    tenant: str
    name: str
    canvas: str
    terms: str | None
    timing: Timing
    overlap: Overlap
    catch_up: int
    catch_up_window: float
    meters: dict[str, Meters] = field(default_factory=dict)
    """The meters of the limits that its steps have."""

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The columns of its row that code decides."""
        values: dict[str, Any] = {
            "canvas": self.canvas,
            "terms": self.terms,
            "cron": self.timing.cron,
            "every": self.timing.every,
            "timezone": self.timing.timezone,
            "overlap": str(self.overlap),
            "catch_up": self.catch_up,
            "catch_up_window": self.catch_up_window,
        }
        text = json.dumps(values, sort_keys=True)
        return values | {"digest": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()}


def apply(tx: Transaction, definition: Definition, action_id: uuid.UUID, actor: str) -> ScheduleAction | None:
    """Write a definition in place of the one that is there; returns what was done, None where it is there already.

    The next tick is computed anew in any case: the rules of the time zone may have changed.
    """
    there = moves.lock_schedule(tx, definition.tenant, definition.name)
    if definition.meters:  # after the schedule is locked: in the order of a tick
        all_moves.declare(tx, definition.meters)
    if there is None:
        if _add(tx, definition):
            there = moves.lock_schedule(tx, definition.tenant, definition.name)
            assert there is not None, "this transaction has written it"
            why = "code declares it"
            moves.note_change(tx, there, ScheduleAction.CREATE, actor=actor, reason=why, action_id=action_id)
            return ScheduleAction.CREATE
        there = moves.lock_schedule(tx, definition.tenant, definition.name)
        assert there is not None, "another process has just written it"
    return _change(tx, there, definition, action_id, actor)


def _add(tx: Transaction, definition: Definition) -> bool:
    read_at = moves.read_time(tx)
    times = {"since": read_at, "next_at": definition.timing.after(read_at)}
    ids = {"id": new_id(), "tenant": definition.tenant, "name": definition.name}
    return moves.add_schedule(tx, ids | definition.columns | times)


def _change(
    tx: Transaction, there: AnyRow, definition: Definition, action_id: uuid.UUID, actor: str
) -> ScheduleAction | None:
    before = there._mapping
    is_new = before["digest"] != definition.columns["digest"]
    # The ticks of other times count from now on.
    has_other_times = any(before[name] != definition.columns[name] for name in _OF_TIMES)
    since = there.read_at if has_other_times else there.since
    values = {"since": since, "next_at": definition.timing.after(since)}
    moves.set_schedule(tx, there.id, values | definition.columns)
    if is_new:
        moves.note_change(
            *(tx, there, ScheduleAction.CHANGE),
            actor=actor,
            reason=_BY_CODE,
            action_id=action_id,
            details=_difference(before, definition.columns),
        )
    if there.paused_at is not None and there.paused_by == moves.SYSTEM:
        moves.resume_schedule(tx, there.id)
        why = "its canvas can be started by the code that was just loaded"
        moves.note_change(tx, there, ScheduleAction.RESUME, actor=moves.SYSTEM, reason=why)
    return ScheduleAction.CHANGE if is_new else None


def pause(
    tx: Transaction,
    tenant: str,
    name: str,
    until: datetime | float | None,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID,
) -> AnyRow | None:
    """Let a schedule start nothing until a time, or until it is resumed; again for another end.

    Seconds count from now, by the database's clock. Returns the schedule; None where there is none. Raises
    InvalidArguments for an end that has passed.
    """
    there = moves.lock_schedule(tx, tenant, name)
    if there is None or moves.find_change(tx, action_id) is not None:
        return there
    end = there.read_at + timedelta(seconds=until) if isinstance(until, (int, float)) else until
    if end is not None and end <= there.read_at:
        raise InvalidArguments(
            f"the pause would end at {end:%Y-%m-%d %H:%M:%S} UTC, but it is {there.read_at:%Y-%m-%d %H:%M:%S} "
            "UTC by the ledger's clock; give a time to come"
        )
    moves.pause_schedule(tx, there.id, end, actor=actor, reason=reason)
    moves.note_change(tx, there, ScheduleAction.PAUSE, actor=actor, reason=reason, action_id=action_id, until=end)
    return moves.get_schedule(tx.connection, tenant, name)


def resume(
    tx: Transaction, tenant: str, name: str, *, actor: str, reason: str, action_id: uuid.UUID
) -> AnyRow | None:
    """Let a paused schedule go on; ticks that it missed are caught up as its definition says.

    Returns as ``pause`` does. Raises StateConflict where it is not paused.
    """
    there = moves.lock_schedule(tx, tenant, name)
    if there is None or moves.find_change(tx, action_id) is not None:
        return there
    if not moves.resume_schedule(tx, there.id):
        raise StateConflict(f"schedule {name}", expected=["paused"], found="not paused")
    moves.note_change(tx, there, ScheduleAction.RESUME, actor=actor, reason=reason, action_id=action_id)
    return moves.get_schedule(tx.connection, tenant, name)


def remove(
    tx: Transaction, tenant: str, name: str, *, actor: str, reason: str, action_id: uuid.UUID
) -> AnyRow | None:
    """Delete a schedule; its workflows and its history stay. Returns it as it was; None where there is none."""
    there = moves.lock_schedule(tx, tenant, name)
    if there is not None:
        moves.note_change(tx, there, ScheduleAction.REMOVE, actor=actor, reason=reason, action_id=action_id)
        moves.remove_schedule(tx, there.id)
    return there


def pause_unfit(tx: Transaction, tenant: str, name: str, why: str) -> bool:
    """Pause a schedule that cannot be started, for a person who looks at it; False where it is paused, or gone."""
    there = moves.lock_schedule(tx, tenant, name)
    if there is None or there.paused_at is not None:
        return False
    moves.pause_schedule(tx, there.id, None, actor=moves.SYSTEM, reason=why)
    moves.note_change(tx, there, ScheduleAction.PAUSE, actor=moves.SYSTEM, reason=why)
    return True


def _difference(before: Any, now: dict[str, Any]) -> str:
    changed = [f"{name} {before[name]} → {now[name]}" for name in _SHOWN if before[name] != now[name]]
    if before["canvas"] != now["canvas"]:
        changed.append(f"canvas {graph_of(before['canvas']).describe()} → {graph_of(now['canvas']).describe()}")
    return "; ".join(changed or ["what its steps take, or their retry policy"])
