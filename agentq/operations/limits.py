"""Limits: list, get, change, clear, pause, resume."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments, NotFound, nearest
from agentq.ledger import overrides
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import jobs as job_queries
from agentq.ledger.queries import limits
from agentq.ledger.queries.limits import MOST
from agentq.ledger.transaction import Transaction
from agentq.operations import jobs
from agentq.operations.actors import operator_action
from agentq.operations.checks import storable
from agentq.operations.schemas import Limit, LimitChange, LimitDetails, LineOfTenant, Override
from agentq.policies.limits import MOST_SLOTS
from agentq.redaction import show

MOST_SHOWN = 100
"""Tenants in the line of one limit, and jobs that hold a slot of it, that are listed."""
MOST_CHANGES = 10
"""Changes of one limit that are listed."""
_LONGEST = 1e9
"""Seconds, over 30 years; far more is beyond the calendar of a database."""

Until = datetime | float | None
"""The end of an override: a time with its time zone, seconds from now, or None for no end."""


def list_(ledger: Ledger, *, limit: int = 50) -> list[Limit]:
    """Return up to *limit* limits that jobs have used, by name, those first that jobs may wait for."""
    return [Limit(**_limit(row)) for row in ledger.read(partial(limits.find, most=limit))]


def get(ledger: Ledger, name: str) -> LimitDetails:
    """Return everything about one limit, by its name with the key; raises NotFound."""
    storable(name)

    row, lines, holders, changes = ledger.read(
        lambda connection: (
            limits.get(connection, name),
            limits.lines_of_tenants(connection, name, MOST_SHOWN),
            job_queries.find(
                connection, job_queries.with_ids(limits.holders(connection, name, MOST_SHOWN)), MOST_SHOWN
            ),
            limits.changes(connection, name, MOST_CHANGES),
        )
    )
    return LimitDetails(
        **_limit(_found(ledger, name, row)),
        tenants=[_line(line) for line in lines],
        holders=jobs.summaries(holders),
        changes=[LimitChange.model_validate(one) for one in changes],
    )


def change(
    ledger: Ledger, name: str, slots: int, *, reason: str, until: Until = None, actor: str = ""
) -> LimitChange:
    """Set the slots of a limit, in place of those that code declares.

    Jobs are admitted to the new slots at once, or by a caretaker within a second or two. Those that hold one go on
    where there are fewer slots now: none is admitted until fewer hold one.

    Args:
        ledger: where.
        name: the limit, with its key: ``model:gpt-5``.
        slots: the number of jobs that may run at once, up to a million; 0 admits none.
        reason: why, for the history, and for those whose jobs wait.
        until: when the declared slots hold again. Default: when it is cleared.
        actor: who, for the history. Default: the name of the process's user.

    Raises NotFound for a limit that no job has used; InvalidArguments.
    """
    if isinstance(slots, bool) or not isinstance(slots, int) or not 0 <= slots <= MOST_SLOTS:
        raise InvalidArguments(f"slots is {show(slots)}; it must be a whole number from 0 to {MOST_SLOTS}")
    if not reason.strip():
        raise InvalidArguments("a reason is needed: it is shown to all whose jobs wait for this limit")
    until = _end(until)
    action = operator_action(actor, reason)
    return _write(ledger, name, lambda tx: overrides.change(tx, name, slots, until, **action))


def clear(ledger: Ledger, name: str, *, actor: str = "", reason: str = "") -> LimitChange:
    """Let a limit have the slots again that code declares.

    Args:
        ledger: where.
        name: the limit, with its key.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Raises NotFound; StateConflict where it has no override.
    """
    return _clear(ledger, name, actor, reason, is_resume=False)


def pause(ledger: Ledger, name: str, *, reason: str, until: Until = None, actor: str = "") -> LimitChange:
    """Admit no more jobs of a limit: ``change`` to 0 slots. Those that hold one go on."""
    return change(ledger, name, 0, reason=reason, until=until, actor=actor)


def resume(ledger: Ledger, name: str, *, actor: str = "", reason: str = "") -> LimitChange:
    """Let a paused limit have the slots again that code declares: ``clear``, of a limit with 0 slots.

    Raises NotFound; StateConflict where it is not paused.
    """
    return _clear(ledger, name, actor, reason, is_resume=True)


def _clear(ledger: Ledger, name: str, actor: str, reason: str, *, is_resume: bool) -> LimitChange:
    action = operator_action(actor, reason)
    return _write(ledger, name, lambda tx: overrides.clear(tx, name, is_resume=is_resume, **action))


def _write(ledger: Ledger, name: str, work: Callable[[Transaction], AnyRow | None]) -> LimitChange:
    storable(name)
    return LimitChange.model_validate(_found(ledger, name, ledger.write(work)))


def _found(ledger: Ledger, name: str, found: AnyRow | None) -> AnyRow:
    if found is None:
        near = nearest(name, ledger.read(partial(limits.near, name=name)))
        raise NotFound(
            f"no limit has the name {show(name)}.{near} A limit is there once a job has used it, with its key; "
            "list them with: agentq limits list"
        )
    return found


def _end(until: Until) -> Until:
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise InvalidArguments(f"until is {until}; give it a time zone, such as {until.replace(tzinfo=UTC)}")
    elif until is not None and not 0 < until < _LONGEST:
        raise InvalidArguments(f"until is {until!r} seconds from now; it must be over 0, to {_LONGEST:.0f}")
    return until


def _limit(row: AnyRow) -> dict[str, Any]:
    override = None
    if row.is_overridden:
        override = Override(slots=row.slots, until=row.override_until, actor=row.actor, reason=row.reason)
    return {**row._mapping, "override": override, **_count(row)}


def _line(row: AnyRow) -> LineOfTenant:
    return LineOfTenant(**{**row._mapping, **_count(row)})


def _count(row: AnyRow) -> dict[str, Any]:
    return {"waiting": min(row.waiting, MOST), "is_capped": row.waiting > MOST}
