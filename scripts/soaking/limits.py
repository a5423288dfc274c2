"""The limits of the steps: changed all the time, and looked at all the time."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, func, select, union_all

from agentq.exceptions import LedgerError, NotFound
from agentq.ledger.audit.invariants.limits import slots_miscounted
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import AttemptRow, JobRow, LimitChangeRow, LimitRow
from agentq.ledger.moves.meters import IS_OPEN, SLOTS
from agentq.operations import limits
from soaking.steps import (
    GPU,
    GPU_SLOTS,
    MODEL,
    MODEL_SLOTS,
    MODELS,
    PER,
    PROVIDER,
    PROVIDER_SLOTS,
    STARTS,
    TOKENS,
    refuse_one,
)

SLOTS_OF = {GPU: GPU_SLOTS, **{f"{MODEL}:{model}": MODEL_SLOTS for model in MODELS}, PROVIDER: PROVIDER_SLOTS}
NAMES = (*SLOTS_OF,)
_MOST_SLOTS = 6
_HOLDS_FOR = 12.0
"""Seconds, so that no change outlasts the soak for long."""
_LOOK_EVERY = 0.2
_TOO_LATE = 4.0
"""Seconds after which a look is not compared with the one before it: a limit may have been changed twice."""


_LONGEST_COOLDOWN = 4.0


def change_one(url: str, choices: random.Random) -> None:
    """Give a limit other slots for a while, perhaps none; or another rate, or other tokens."""
    name, what = choices.choice(NAMES), choices.choice(("slots", "rate", "tokens"))
    meters: dict[str, Any] = {"slots": choices.randint(0, _MOST_SLOTS)}
    if name == PROVIDER and what != "slots":
        most = 2 * (STARTS if what == "rate" else TOKENS)
        meters = {what: (choices.randint(most // 10, most), PER)}
    with _ledger(url) as ledger:
        limits.change(ledger, name, **meters, until=_HOLDS_FOR, actor="soak", reason="as planned")


def cool_one(url: str, choices: random.Random) -> None:
    """Let a limit cool for a while, as an operator, or by a call that its provider refuses."""
    if choices.random() < 0.5:
        refuse_one()
        return
    seconds = choices.uniform(1, _LONGEST_COOLDOWN)
    with _ledger(url) as ledger:
        limits.cool(ledger, choices.choice(NAMES), seconds, actor="soak", reason="as planned")


@contextmanager
def _ledger(url: str) -> Iterator[Ledger]:
    """A ledger that may be away, and in which no job may have used the limit yet."""
    ledger = Ledger(url, timeout=1.0)
    with suppress(LedgerError, NotFound):
        yield ledger
    ledger.close()


class Watch:
    """Looks at the limits while it is open; use it in a ``with``."""

    def __init__(self, url: str) -> None:
        self._ledger = Ledger(url, timeout=1.0)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look_always, daemon=True)
        self._before: dict[str, Any] = {}
        self._looked_at = 0.0
        self.looks = 0
        self.wrong: list[str] = []
        """The faults that were seen, each once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._ledger.close()

    def _look_always(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY):
            with suppress(LedgerError):
                self._judge(*self._ledger.read(_look))

    def _judge(self, rows: dict[str, Any], miscounted: list[Any]) -> None:
        now = time.monotonic()
        self.looks += 1
        self.wrong += [f"limit {row[0]} counts other slots than its {row[1]} holders" for row in miscounted]
        for name, row in rows.items() if now < self._looked_at + _TOO_LATE else ():
            before = self._before.get(name)
            if before is None or row.used <= before.used:
                continue
            if row.used > max(row.slots, before.slots):
                self.wrong.append(f"limit {name} has {row.used} holders of {row.slots} slots, before {before}")
            if row.cooldown_until == before.cooldown_until and before.cools and row.cools:
                self.wrong.append(f"limit {name} admitted a job while it cooled: {row}, before {before}")
        self._before, self._looked_at = rows, now


def _look(connection: Connection) -> tuple[dict[str, Any], list[Any]]:
    columns = (
        LimitRow.name,
        LimitRow.used,
        SLOTS.label("slots"),
        LimitRow.cooldown_until,
        (~IS_OPEN).label("cools"),
    )
    rows = connection.execute(select(*columns)).all()
    return {row.name: row for row in rows}, list(connection.execute(slots_miscounted.query()))


def most_at_once(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return for each limit the most attempts that ran at once, and the most slots that it ever had."""
    attempts = (
        select(JobRow.limits, AttemptRow.started_at, AttemptRow.finished_at)
        .join(JobRow, JobRow.id == AttemptRow.job_id)
        .where(JobRow.limits.is_not(None))
    )
    changes: dict[str, list[tuple[Any, int]]] = {name: [] for name in NAMES}
    for row in connection.execute(attempts):
        for name in row.limits:
            changes[name] += [(row.started_at, 1), (row.finished_at, -1)]
    numbers = union_all(
        select(LimitChangeRow.name, LimitChangeRow.after.label("slots")),
        select(LimitRow.name, LimitRow.declared.label("slots")),
    ).subquery()
    query = select(numbers.c.name, func.max(numbers.c.slots)).group_by(numbers.c.name)
    slots = {row[0]: row[1] for row in connection.execute(query)}
    return {name: (_highest(changes[name]), slots.get(name, SLOTS_OF[name])) for name in NAMES}


def _highest(changes: list[tuple[Any, int]]) -> int:
    running = highest = 0
    for _, change in sorted(changes):  # of one time, an end comes first
        running += change
        highest = max(highest, running)
    return highest
