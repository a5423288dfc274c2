"""Postponed workflows: started over a cap, and let in when there is room for them.

They stand in the line of the cap that was full, the oldest first. One that comes first there, and has no room
under another of its caps, is moved into the line of that. ``let_in`` runs after the commit that postponed a
workflow, and after the one that ended one of a tenant with such a line. Where a process dies before it did so, or
an end did not see a workflow that was being postponed, a caretaker does it.

No room is forgotten. A postponement is committed before ``let_in`` counts, and so is an end that saw the line: the
second of the two sees what the first one did. An end that saw no line began before the postponement was committed,
and may be committed after that was counted: what it leaves is found by the caretaker, which asks for the room of
each line, whatever became of it. In the line of a step the caretaker alone finds room, since a claim, which makes
it, has no statement more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from agentq.ledger import moves
from agentq.ledger.after_commit import LetIn
from agentq.ledger.backlog import awaited_beside, room_of
from agentq.ledger.db.types import AnyRow
from agentq.ledger.handover import dispatch_queued, finish_complete
from agentq.ledger.transaction import Transaction, Transactions

_MOST_AT_ONCE = 200
"""Workflows that one call lets in from one line; a caretaker goes on with the rest."""
_MOST_TOGETHER = 20
"""Workflows that one transaction lets in."""
_MOST_LINES = 100
"""Lines at which one round of a caretaker looks."""


def let_in(ledger: Transactions, line: str) -> None:
    """Let the workflows in that come first in the line of a cap, as far as there is room."""
    for _ in range(_MOST_AT_ONCE // _MOST_TOGETHER):
        room = ledger.read_statement(partial(room_of, line=line, most=_MOST_TOGETHER))
        if room == 0:
            return
        ledger.write(partial(_let_in, line=line, most=room))


def let_all_in(ledger: Transactions, after: str) -> str:
    """Let workflows in wherever there is room, from the line on that comes *after* one: for a caretaker.

    Returns the line after which the next round begins, empty for the first one.
    """
    lines = ledger.read_statement(partial(moves.lines_of_caps, after=after, most=_MOST_LINES))
    for line in lines:
        let_in(ledger, line)
    return lines[-1] if len(lines) == _MOST_LINES else ""


def _let_in(tx: Transaction, line: str, most: int) -> None:
    waiting = moves.lock_postponed(tx, line, most)
    # Counted anew: others may have let some in until these were locked.
    room = room_of(tx.connection, line, most)
    for workflow in _alike(waiting)[:room]:
        other = awaited_beside(tx.connection, line, workflow)
        if other is None:
            _begin(tx, workflow)
        else:
            moves.postpone_on(tx, workflow.id, other.line, other.max_backlog)
            tx.then(LetIn(other.line))


def _alike(waiting: Sequence[AnyRow]) -> list[AnyRow]:
    """Return those that have the cap of code of the first: the room is its, and others ask for theirs next."""
    return list(takewhile(lambda one: _cap_of_code(one) == _cap_of_code(waiting[0]), waiting))


def _cap_of_code(workflow: AnyRow) -> tuple[int | None, int | None]:
    return workflow.max_open, workflow.max_backlog


def _begin(tx: Transaction, workflow: AnyRow) -> None:
    dispatch_queued(tx, moves.let_in(tx, [workflow.id]))
    finish_complete(tx, moves.complete_fan_ins(tx, [workflow.id]))
