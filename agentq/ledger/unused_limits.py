"""Limits that no job names any more, and turns that change nothing: deleted, so that keys do not pile up.

A start may name a limit just when that is deleted. Then a caretaker enters it again: ``limits.enter_unawaited``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    String,
    and_,
    case,
    column,
    delete,
    func,
    literal_column,
    not_,
    select,
    tuple_,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from agentq.ledger.db.types import clock
from agentq.ledger.models import LimitRow, TurnRow
from agentq.ledger.moves.limits import LIMIT, lock_limits
from agentq.ledger.moves.meters import IS_OPEN, IS_OVERRIDDEN
from agentq.ledger.transaction import Transaction

_MOST = literal_column("1000", Integer())
"""Limits that one transaction deletes."""


class _limits_named(FunctionElement[str]):
    """A table of the limits that jobs name, each once: its ``name``."""

    inherit_cache = True
    name = "limits_named"


@compiles(_limits_named, "postgresql")
def _limits_named_postgresql(element: _limits_named, compiler: Any, **kw: Any) -> str:
    return "(SELECT DISTINCT unnest(limits) AS name FROM agentq_jobs WHERE limits IS NOT NULL)"


@compiles(_limits_named, "sqlite")
def _limits_named_sqlite(element: _limits_named, compiler: Any, **kw: Any) -> str:
    return "(SELECT DISTINCT item.value AS name FROM agentq_jobs AS job, json_each(job.limits) AS item)"


_named = _limits_named().table_valued(column("name", String()), name="limits_named")
_is_idle = and_(
    LimitRow.used == 0,
    not_(LimitRow.is_awaited),
    not_(func.coalesce(IS_OVERRIDDEN, False)),
    # What was started or used a short while ago would be forgotten, and so would a provider's refusal.
    LimitRow.rate_due <= clock(),
    LimitRow.tokens_due <= clock(),
    IS_OPEN,
)
_is_unnamed = _named.c.name.is_(None)
_unused = select(LimitRow.name).outerjoin(_named, _named.c.name == LimitRow.name).where(_is_unnamed, _is_idle)
_COUNT = select(func.count()).select_from(_unused.subquery())
_FIND = _unused.order_by(LimitRow.name).limit(_MOST).with_for_update(of=LimitRow, skip_locked=True)
_DELETE = delete(LimitRow).where(LimitRow.name == LIMIT)
_DELETE_TURNS = delete(TurnRow).where(TurnRow.name == LIMIT)
# A tenant that comes back begins where the others are, so its turn says nothing if it is not ahead of them; of a
# line in which nobody waits, the last turn says where that is.
_waiting = case((not_(TurnRow.is_idle), TurnRow.served))
_front = (
    select(TurnRow.name, func.coalesce(func.min(_waiting), func.max(TurnRow.served)).label("served"))
    .group_by(TurnRow.name)
    .subquery("front")
)
_needless = (
    select(TurnRow.name, TurnRow.tenant)
    .join(_front, _front.c.name == TurnRow.name)
    .where(TurnRow.is_idle, TurnRow.served < _front.c.served)
)
_WITH_NEEDLESS = select(_needless.subquery().c.name).distinct()
_DELETE_NEEDLESS = _DELETE_TURNS.where(
    TurnRow.is_idle, tuple_(TurnRow.name, TurnRow.tenant).in_(_needless.where(TurnRow.name == LIMIT))
)


def count(connection: Connection) -> int:
    """Count the limits that ``delete_limits`` deletes."""
    return connection.scalar(_COUNT) or 0


def delete_limits(tx: Transaction) -> int:
    """Delete up to a thousand limits that no job names and no operator changed; returns how many."""
    names = tx.connection.scalars(_FIND).all()
    if names:
        values = [{"limit": name} for name in names]
        tx.connection.execute(_DELETE_TURNS, values)
        tx.connection.execute(_DELETE, values)
    return len(names)


def with_needless_turns(connection: Connection) -> list[str]:
    """Return the limits with turns that change nothing."""
    return list(connection.scalars(_WITH_NEEDLESS))


def delete_turns(tx: Transaction, limit: str) -> None:
    """Delete the turns of a limit that change nothing."""
    lock_limits(tx, [limit])  # so that nobody who has locked one turn waits for another one
    tx.connection.execute(_DELETE_NEEDLESS, {"limit": limit})
