"""Ticks of schedules: what is due starts its workflow, once, however many processes compute it.

The key of the workflow names the tick, so that one start comes of it; the guarded move of the schedule to its next
tick, in the same transaction, lets others see that nothing is left to do.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from agentq.canvas.graph import Graph
from agentq.exceptions import KeyConflict, LedgerUnavailable
from agentq.ledger import cancels, starts
from agentq.ledger.db.types import AnyRow
from agentq.ledger.moves import schedules as moves
from agentq.ledger.transaction import Transaction, Transactions
from agentq.policies.ticks import Timing, due
from agentq.states import OnFull, Overlap, ScheduleAction

Build = Callable[[str], Graph]
"""Makes the graph of a schedule from its JSON text."""
Unfit = Callable[[AnyRow, Exception], None]
"""Takes a schedule that this process cannot start, and the error."""

MOST_AT_ONCE = 100
"""Schedules of one round of a caretaker; the next one goes on with the rest."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick, and the workflow that it is to start."""

    at: datetime
    plan: starts.Plan


def graph_of(canvas: str) -> Graph:
    """Return the graph of a schedule as it was kept; raises CanvasError for a part that only newer code knows."""
    return Graph.from_data(json.loads(canvas))


def timing_of(schedule: AnyRow) -> Timing:
    """Return the times of a schedule."""
    return Timing(schedule.cron, schedule.every, schedule.timezone)


def plan_tick(schedule: AnyRow, graph: Graph, at: datetime, key: str | None = None) -> Tick:
    """Give ids to the workflow of a tick: the same each time that its start is tried."""
    plan = starts.plan(graph, tenant=schedule.tenant, key=key or key_of(schedule.name, at), terms=schedule.terms)
    return Tick(at, plan)


def key_of(name: str, at: datetime) -> str:
    """Return the key of the workflow that a tick starts."""
    return f"schedule:{name}:{at:%Y-%m-%dT%H:%M:%SZ}"


def start_due(
    ledger: Transactions,
    build: Build,
    max_open: int | None,
    unfit: Unfit,
    without: Collection[uuid.UUID] = (),
) -> int:
    """Start what is due and what is owed, of up to MOST_AT_ONCE schedules of each; end pauses.

    A schedule that cannot be started here is given to *unfit*, and others go on; those of *without* were given to
    it before. Returns how many schedules there were.
    """
    if ledger.read_statement(moves.any_pause_over):
        ledger.write(_end_pauses)
    some: dict[str, Any] = {"most": MOST_AT_ONCE, "without": without}
    owing = list(ledger.read_statement(partial(moves.owing_schedules, **some)))
    coming = list(ledger.read_statement(partial(moves.due_schedules, **some)))
    random.shuffle(coming)  # so that several caretakers do not meet at each of them
    for schedules, pass_one in ((owing, _pass_owed), (coming, pass_due)):
        for schedule in schedules:
            try:
                pass_one(ledger, schedule, build, max_open)
            except LedgerUnavailable:
                raise
            except Exception as error:  # whatever it is: the other schedules go on
                unfit(schedule, error)
    return len(owing) + len(coming)


def start_named(ledger: Transactions, tenant: str, name: str, build: Build, max_open: int | None) -> bool:
    """Start what is due of one schedule; False where nothing is. Raises what keeps it from being started."""
    schedule = ledger.read_statement(lambda connection: moves.get_schedule(connection, tenant, name))
    if schedule is None or schedule.paused_at is not None or schedule.next_at > schedule.read_at:
        return False
    return pass_due(ledger, schedule, build, max_open)


def pass_due(ledger: Transactions, schedule: AnyRow, build: Build, max_open: int | None) -> bool:
    """Start what is due of a schedule as it was read; False where another process was first."""
    window = timedelta(seconds=schedule.catch_up_window)
    found = due(timing_of(schedule), schedule.next_at, schedule.read_at, schedule.catch_up, window)
    graph = build(schedule.canvas)
    ticks = [plan_tick(schedule, graph, at) for at in found.ticks]

    def work(tx: Transaction) -> bool:
        passed = moves.pass_ticks(tx, schedule, next_at=found.next_at, missed=found.missed)
        if passed is None:
            return False
        begin(tx, schedule, passed, ticks, max_open)
        return True

    return ledger.write(work)


def begin(
    tx: Transaction, schedule: AnyRow, passed: AnyRow, ticks: Sequence[Tick], max_open: int | None
) -> list[uuid.UUID]:
    """Start the workflows of ticks of a schedule that is locked, as its overlap says; returns which.

    *passed* has its last workflow and the tick that it owes, as they are now.
    """
    last, owed = passed.last_workflow_id, passed.owed_for
    started: list[uuid.UUID] = []
    skipped, at = 0, None
    for tick in ticks:
        is_busy = schedule.overlap != Overlap.ALLOW and (owed is not None or moves.is_open(tx, last))
        if is_busy and schedule.overlap == Overlap.CANCEL:
            _cancel(tx, schedule, last)
            owed = None
        elif is_busy and schedule.overlap == Overlap.QUEUE and owed is None:
            owed = tick.at
            continue
        elif is_busy:
            skipped += 1
            continue
        found = _find_or_start(tx, tick, max_open)
        last, at = found.workflow_id, tick.at
        started += [last] if found.is_new else []
    moves.note_ticks(tx, schedule.id, workflow=last, tick=at, owed=owed, new=len(started), left_out=skipped)
    return started


def start_all(tx: Transaction, ticks: Iterable[Tick], max_open: int | None = None) -> list[starts.Started]:
    """Start the workflows of ticks whatever is open, or find those that were started before."""
    return [_find_or_start(tx, tick, max_open) for tick in ticks]


def _find_or_start(tx: Transaction, tick: Tick, max_open: int | None) -> starts.Started:
    try:
        # Over a cap it is postponed: the tick has its workflow, which begins when there is room.
        started = starts.start_all(tx, [tick.plan], max_open=max_open, on_full=OnFull.POSTPONE)[0]
    except KeyConflict as error:
        return starts.Started(uuid.UUID(error.workflow_id), False)  # by an earlier definition: it was started
    moves.mark_scheduled(tx, started.workflow_id, tick.at)
    return started


def _cancel(tx: Transaction, schedule: AnyRow, workflow_id: uuid.UUID | None) -> None:
    if workflow_id is not None:
        why = f"the next tick of schedule {schedule.name!r} came"
        cancels.cancel(tx, workflow_id, actor=moves.SYSTEM, reason=why)


def _pass_owed(ledger: Transactions, schedule: AnyRow, build: Build, max_open: int | None) -> bool:
    tick = plan_tick(schedule, build(schedule.canvas), schedule.owed_for)

    def work(tx: Transaction) -> bool:
        if not moves.take_owed(tx, schedule):
            return False
        found = _find_or_start(tx, tick, max_open)
        moves.note_ticks(
            *(tx, schedule.id),
            workflow=found.workflow_id,
            tick=tick.at,
            owed=None,
            new=int(found.is_new),
            left_out=0,
        )
        return True

    return ledger.write(work)


def _end_pauses(tx: Transaction) -> None:
    for row in moves.end_pauses(tx, MOST_AT_ONCE):
        moves.note_change(
            tx, row, ScheduleAction.RESUME, actor=moves.SYSTEM, reason="the end of its pause has come"
        )
