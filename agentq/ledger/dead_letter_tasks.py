"""Dead letters on their way to their handlers: their task is issued, they are recorded, then handled."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, Float, and_, bindparam, or_, select, update

from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import DeadLetterRow
from agentq.ledger.transaction import Transaction

_grace = bindparam("grace", type_=Float())
_is_new = DeadLetterRow.dispatched_at.is_(None)
_is_late = DeadLetterRow.dispatched_at < seconds_from_now(-_grace)
TO_ISSUE = and_(DeadLetterRow.handled_at.is_(None), or_(_is_new, _is_late))
"""A dead letter whose task was never dispatched, or over ``grace`` seconds ago and is not done."""
_unhandled = (
    select(DeadLetterRow.id)
    .where(DeadLetterRow.handled_at.is_(None))
    .order_by(DeadLetterRow.created_at, DeadLetterRow.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_NEW = _unhandled.where(_is_new)
_LATE = _unhandled.where(_is_late)
_ANY_LATE = select(select(DeadLetterRow.id).where(DeadLetterRow.handled_at.is_(None), _is_late).exists())
_ISSUE = (
    update(DeadLetterRow)
    .where(DeadLetterRow.id.in_(bindparam("letter_ids", expanding=True)), DeadLetterRow.handled_at.is_(None))
    .values(dispatched_at=now())
)


def issue_new(tx: Transaction, most: int) -> list[uuid.UUID]:
    """Note the first dispatch of up to *most* dead letters that are to be recorded; returns their ids."""
    return _issue(tx, list(tx.connection.scalars(_NEW, {"most": most})))


def issue_again(tx: Transaction, grace: float, most: int) -> list[uuid.UUID]:
    """Note another dispatch of those that were issued over *grace* seconds ago and are not handled."""
    return _issue(tx, list(tx.connection.scalars(_LATE, {"most": most, "grace": grace})))


def any_late(connection: Connection, grace: float) -> bool:
    """Say whether a dead letter was issued over *grace* seconds ago and is not handled yet."""
    return bool(connection.scalar(_ANY_LATE, {"grace": grace}))


def record(tx: Transaction, letter_id: uuid.UUID, snapshot: str) -> None:
    """Keep the snapshot of a dead letter; the first one stands."""
    tx.connection.execute(
        update(DeadLetterRow)
        .where(DeadLetterRow.id == letter_id, DeadLetterRow.recorded_at.is_(None))
        .values(snapshot=snapshot, recorded_at=now())
    )


def mark_handled(tx: Transaction, letter_id: uuid.UUID) -> None:
    """Note that the handlers were called, so that it is not issued again."""
    tx.connection.execute(
        update(DeadLetterRow)
        .where(DeadLetterRow.id == letter_id, DeadLetterRow.handled_at.is_(None))
        .values(handled_at=now())
    )


def _issue(tx: Transaction, letter_ids: list[uuid.UUID]) -> list[uuid.UUID]:
    if letter_ids:
        tx.connection.execute(_ISSUE, {"letter_ids": letter_ids})
    return letter_ids
