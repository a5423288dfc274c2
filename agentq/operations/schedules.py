"""Schedules: list, get, pause, resume, trigger, backfill, remove."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from agentq.exceptions import InvalidArguments, NotFound, nearest
from agentq.ledger import schedules as ledger_schedules
from agentq.ledger import ticks_by_hand
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.moves import schedule_dispatches
from agentq.ledger.queries import schedules
from agentq.ledger.ticks import graph_of, timing_of
from agentq.ledger.transaction import Transaction
from agentq.operations.actors import operator_action
from agentq.operations.checks import storable
from agentq.operations.schemas import (
    BackfilledSchedule,
    Schedule,
    ScheduleChange,
    ScheduleDetails,
    SchedulePause,
    TriggeredSchedule,
)
from agentq.operations.until import Until, checked_until
from agentq.redaction import show

MOST_CHANGES = 10
"""Changes of one schedule that are listed."""
MOST_COMING = 5
"""Ticks to come that are listed."""
MOST_TICKS = 1_000
"""Ticks of one backfill."""
_MOST_NAMED = 5


def list_(ledger: Ledger, *, tenant: str | None = None, limit: int = 50) -> list[Schedule]:
    """Return up to *limit* schedules, by name, of all tenants or of one."""
    storable(tenant)
    rows = ledger.read(partial(schedules.find, most=limit, tenant=tenant))
    return [Schedule(**_schedule(row)) for row in rows]


def get(ledger: Ledger, name: str, *, tenant: str | None = None) -> ScheduleDetails:
    """Return everything about one schedule.

    Args:
        ledger: where.
        name: which.
        tenant: whose, where several tenants have one of this name.

    Raises NotFound where there is none, or more than one.
    """
    row = _only(ledger, name, tenant)
    changes = ledger.read(partial(schedules.changes, tenant=row.tenant, name=row.name, most=MOST_CHANGES))
    coming = list(islice(timing_of(row).following(row.read_at), MOST_COMING))
    return ScheduleDetails(
        **_schedule(row), coming=coming, changes=[ScheduleChange.model_validate(change) for change in changes]
    )


def pause(
    ledger: Ledger,
    name: str,
    *,
    reason: str,
    until: Until = None,
    tenant: str | None = None,
    actor: str = "",
) -> Schedule:
    """Let a schedule start nothing until it is resumed.

    Args:
        ledger: where.
        name: which.
        reason: why, for the history.
        until: when it goes on by itself: a time with its time zone, or seconds from now. Default: never.
        tenant: whose, where several tenants have one of this name.
        actor: who, for the history. Default: the name of the process's user.

    Ticks that come during the pause are caught up afterwards as the schedule says. Raises NotFound;
    InvalidArguments for an end that has passed, or without a reason.
    """
    if not reason.strip():
        raise InvalidArguments("a reason is needed: it is shown to all who ask why nothing is started")
    end = checked_until(until)
    return _decide(ledger, name, tenant, actor, reason, partial(ledger_schedules.pause, until=end))


def resume(ledger: Ledger, name: str, *, tenant: str | None = None, actor: str = "", reason: str = "") -> Schedule:
    """Let a paused schedule go on, also one that was paused as its canvas could not be started.

    Args:
        ledger, name, tenant, actor: as in ``pause``.
        reason: why, for the history.

    Raises NotFound; StateConflict where it is not paused.
    """
    return _decide(ledger, name, tenant, actor, reason, ledger_schedules.resume)


def remove(ledger: Ledger, name: str, *, tenant: str | None = None, actor: str = "", reason: str = "") -> Schedule:
    """Delete a schedule; its workflows go on. Code that declares it writes it again when a worker starts.

    Args:
        ledger, name, tenant, actor: as in ``pause``.
        reason: why, for the history, which stays.

    Returns the schedule as it was. Raises NotFound.
    """
    return _decide(ledger, name, tenant, actor, reason, ledger_schedules.remove)


def trigger(
    ledger: Ledger, name: str, *, tenant: str | None = None, actor: str = "", reason: str = ""
) -> TriggeredSchedule:
    """Start the workflow of a schedule now, as its overlap says; also while it is paused.

    Args:
        ledger, name, tenant, actor: as in ``pause``.
        reason: why, for the history.

    Raises NotFound; StateConflict where an earlier workflow is open and the overlap lets no other begin.
    """
    row = _only(ledger, name, tenant)
    action = operator_action(actor, reason)
    done = _write(ledger, row, lambda tx: ticks_by_hand.trigger(tx, row.tenant, row.name, **action))
    return TriggeredSchedule(name=row.name, tenant=row.tenant, workflow_id=done.workflow_id)


def backfill(
    ledger: Ledger,
    name: str,
    first: datetime,
    last: datetime,
    *,
    most: int = 100,
    tenant: str | None = None,
    actor: str = "",
    reason: str = "",
) -> BackfilledSchedule:
    """Start the workflow of each tick of a time that is past and has none yet, all at once.

    Args:
        ledger, name, tenant, actor: as in ``pause``.
        first, last: the time, both ends included, with their time zones.
        most: how many ticks there may be, up to 1,000; more are refused, and nothing is started.
        reason: why, for the history.

    They begin side by side, whatever the overlap is; limits and caps hold for them. Raises NotFound;
    InvalidArguments for a time to come, or for more ticks.
    """
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_TICKS:
        raise InvalidArguments(f"most is {show(most)}; it must be a whole number from 1 to {MOST_TICKS}")
    begin, end = _utc("first", first), _utc("last", last)
    if begin > end:
        raise InvalidArguments(f"first is {begin} and last is {end}; the first has to come before the last")
    row = _only(ledger, name, tenant)
    action = operator_action(actor, reason)
    done = _write(
        ledger, row, lambda tx: ticks_by_hand.backfill(tx, row.tenant, row.name, begin, end, most, **action)
    )
    return BackfilledSchedule(name=row.name, tenant=row.tenant, ticks=list(done.ticks), started=done.started)


def _decide(
    ledger: Ledger,
    name: str,
    tenant: str | None,
    actor: str,
    reason: str,
    decide: Callable[..., AnyRow | None],
) -> Schedule:
    row = _only(ledger, name, tenant)
    action = operator_action(actor, reason)
    found = _write(ledger, row, lambda tx: decide(tx, row.tenant, row.name, **action))
    return Schedule(**_schedule(found))


def _write(ledger: Ledger, row: AnyRow, work: Callable[[Transaction], Any]) -> Any:
    def write(tx: Transaction) -> Any:
        done = work(tx)
        schedule_dispatches(tx)
        return done

    done = ledger.write(write)
    if done is None:
        raise NotFound(f"schedule {row.name} was just removed; list them with: agentq schedules list")
    return done


def _only(ledger: Ledger, name: str, tenant: str | None) -> AnyRow:
    storable(name)
    storable(tenant)
    found = ledger.read(partial(schedules.named, name=name, tenant=tenant, most=_MOST_NAMED + 1))
    if len(found) == 1:
        return found[0]
    if found:
        tenants = ", ".join(repr(row.tenant) for row in found[:_MOST_NAMED])
        raise NotFound(f"more than one tenant has a schedule {show(name)}: {tenants}; say which with --tenant")
    near = nearest(name, ledger.read(partial(schedules.near, name=name)))
    of = "" if tenant is None else f" of tenant {show(tenant)}"
    raise NotFound(f"no schedule{of} has the name {show(name)}.{near} List them with: agentq schedules list")


def _utc(what: str, time: datetime) -> datetime:
    if time.tzinfo is None:
        raise InvalidArguments(f"{what} is {time}; give it a time zone, such as {time.replace(tzinfo=UTC)}")
    return time.astimezone(UTC)


def _schedule(row: AnyRow) -> dict[str, Any]:
    pause = None
    if row.paused_at is not None:
        pause = SchedulePause(
            since=row.paused_at, until=row.paused_until, actor=row.paused_by, reason=row.pause_reason
        )
    shown = {name: value for name, value in row._mapping.items() if name in Schedule.model_fields}
    return shown | {"canvas": graph_of(row.canvas).describe(), "pause": pause}
