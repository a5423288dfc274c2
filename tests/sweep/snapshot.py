"""What a crash leaves behind: the ledger's committed state and the diary, and nothing else."""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import unified_diff
from itertools import chain, islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from agentq.ledger.db.types import Epoch, UtcDateTime
from agentq.ledger.models import Base
from tests.sweep.diary import Contents, Diary
from tests.sweep.receipts import RECEIPTS

_BY_CHANCE = {"claim_token", "pid", "delay", "paused", "waited"}
"""The columns that differ from run to run, as do ids and times."""
_ID = re.compile(r"\b[0-9a-f]{8}(-?)[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{4}\1[0-9a-f]{12}\b")
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:\+00:00|Z)?")
_MOST_LINES = 20


@dataclass(frozen=True)
class Snapshot:
    """The ledger and the diary at one moment; those between which nothing was written are equal."""

    ledger: Hashable
    diary: Contents
    taken_at: float = field(default_factory=time.monotonic, compare=False)

    def seconds_ago(self) -> float:
        """Return its age, in whole milliseconds: what the ledger of SQLite and messages can express."""
        return round(time.monotonic() - self.taken_at, 3)


def describe(connection: Connection, diary: Diary) -> list[str]:
    """Describe each value and each line of the diary, the same for two runs that did the same."""
    # Ids that ascend with time keep the order of rows that are otherwise equal.
    rows = sorted(_rows(connection), key=lambda row: _ID.sub("an id", " ".join(row)))
    lines = [*chain.from_iterable(rows), *_notes(diary)]
    numbers: dict[str, str] = {}
    return [
        _ID.sub(lambda found: numbers.setdefault(found[0].replace("-", ""), f"id {len(numbers)}"), line)
        for line in lines
    ]


def differences(expected: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    """Yield the first lines in which two descriptions differ, with a sign before each."""
    compared = unified_diff([*expected], [*found], "snapshot", "crash", n=0, lineterm="")
    return islice((line for line in compared if not line.startswith("@@")), _MOST_LINES)


def _rows(connection: Connection) -> Iterator[list[str]]:
    for table in (*Base.metadata.sorted_tables, RECEIPTS):
        for row in connection.execute(select(table).order_by(*(table.primary_key or table.columns))):
            where = " ".join([table.name, *(str(row._mapping[column]) for column in table.primary_key)])
            yield [
                f"{where} {column.name}: {_described(column, value)}"
                for column, value in zip(table.columns, row, strict=True)
                if column.name not in _BY_CHANCE
            ]


def _described(column: ColumnElement[Any], value: object) -> str:
    is_time = isinstance(column.type, (UtcDateTime, Epoch)) and value is not None
    return "a time" if is_time else _CLOCK.sub("a time", str(value))


def _notes(diary: Diary) -> Iterator[str]:
    yield from map(str, diary.effects())
    yield from map(str, diary.starts().items())
    yield from map(str, sorted(diary.handled()))
    yield f"fixed: {diary.is_fixed()}"
    for queue, message in diary.messages():
        yield f"message to {queue}: {message['headers']['task']} {message['headers']['id']}"
