"""Events of a workflow: read in pages, or follow it live; to be resumed after any of them."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self

from agentq.exceptions import InvalidArguments, NotFound
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import events
from agentq.ledger.queries.events import NOTHING_ENDED, Ended, Page
from agentq.operations.identity import parse_id
from agentq.operations.schemas import Event
from agentq.redaction import masked
from agentq.states import WORKFLOW_FINAL

_MOST = 200
"""Events of each source that one query reads."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Bounds of the pause between two queries that find nothing, in seconds; it grows while nothing happens."""
_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,9})-([0-9]{1,17})(-end)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Position:
    """The position of a reader, as an event's id has it."""

    number: int = 0
    ended: Ended = NOTHING_ENDED
    is_end: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        found = _ID.fullmatch(text)
        if found is None:
            raise InvalidArguments(f"after={text[:80]!r}: must be the id of an event of this workflow, or None")
        number, count, microseconds = (int(group) for group in found.groups()[:3])
        when = _EPOCH + timedelta(microseconds=microseconds) if count else None
        return cls(number, Ended(count, when), found[4] is not None)

    def __str__(self) -> str:
        ended_at = self.ended.ended_at
        microseconds = 0 if ended_at is None else (ended_at - _EPOCH) // timedelta(microseconds=1)
        return f"{self.number}-{self.ended.count}-{microseconds}{'-end' if self.is_end else ''}"


class Reader:
    """Reads the events of one workflow, in their order, and knows how far it has come.

    Args:
        ledger: where.
        workflow_id: the workflow.
        after: the id of the last event that is known; None to begin at the start.

    Raises NotFound for a text that is no workflow id, InvalidArguments for one that is no event's id.
    """

    def __init__(self, ledger: Ledger, workflow_id: str, after: str | None = None) -> None:
        self._ledger = ledger
        self._id = parse_id(workflow_id, "workflow")
        self._position = None if after is None else _Position.parse(after)
        self._quiet_since = time.monotonic()
        self.is_over = False
        """True after the workflow has ended and all events are read."""

    def read(self) -> list[Event]:
        """Return what is new, a few hundred events at most; raises NotFound where there is no such workflow."""
        known = self._position or _Position()
        page = self._ledger.read(
            partial(
                events.page_after,
                workflow_id=self._id,
                number=known.number,
                position=known.ended,
                limit=_MOST,
            )
        )
        if page is None:
            raise NotFound(f"no workflow has the id {self._id}; list them with: agentq workflows list")
        found = self._new(page, known)
        if found:
            self._quiet_since = time.monotonic()
        return found

    @property
    def pause(self) -> float:
        """Seconds until the next query after one that found nothing: a fifth of the time since the last event."""
        return min(max((time.monotonic() - self._quiet_since) / 5, _SHORTEST_PAUSE), _LONGEST_PAUSE)

    def _new(self, page: Page, position: _Position) -> list[Event]:
        has_ended = page.workflow.status in WORKFLOW_FINAL
        is_end = position.is_end and has_ended  # else it was replayed
        position = replace(position, ended=replace(position.ended, count=page.skipped), is_end=is_end)
        found = [_started(page.workflow, position)] if self._position is None else []
        for row in _by_time(page.reported, page.ended):
            position = _passed(position, row)
            found.append(_event(row, position))
        self.is_over = has_ended and len(page.reported) < _MOST and len(page.ended) < _MOST
        if self.is_over and (found or not position.is_end):
            position = replace(position, is_end=True)
            found.append(_ended(page.workflow, position))
        self._position = position
        return found


def is_event_id(text: str) -> bool:
    """Say whether a text has the form of an event's id."""
    return _ID.fullmatch(text) is not None


def follow(
    ledger: Ledger,
    workflow_id: str,
    *,
    after: str | None = None,
    timeout: float | None = None,
    follow: bool = True,
) -> Iterator[Event]:
    """Yield the events of a workflow, and, where *follow*, those to come, to its end.

    Args:
        ledger: where.
        workflow_id: the workflow.
        after: the id of the last event that is known; None to begin at the start.
        timeout: seconds after which it ends though the workflow has not; None for never.
        follow: whether to wait for what comes.

    Raises as ``Reader``.
    """
    reader, deadline = Reader(ledger, workflow_id, after), _deadline(timeout)
    while True:
        found = reader.read()
        yield from found
        left = deadline - time.monotonic()
        if reader.is_over or left <= 0 or not (found or follow):
            return
        time.sleep(0 if found else min(reader.pause, left))


async def afollow(
    ledger: Ledger,
    workflow_id: str,
    *,
    after: str | None = None,
    timeout: float | None = None,
    follow: bool = True,
) -> AsyncIterator[Event]:
    """Yield what ``follow`` does; the ledger is read in another thread, so the event loop goes on."""
    reader, deadline = Reader(ledger, workflow_id, after), _deadline(timeout)
    while True:
        found = await asyncio.to_thread(reader.read)
        for event in found:
            yield event
        left = deadline - time.monotonic()
        if reader.is_over or left <= 0 or not (found or follow):
            return
        await asyncio.sleep(0 if found else min(reader.pause, left))


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else time.monotonic() + timeout


def _by_time(reported: list[AnyRow], ended: list[AnyRow]) -> list[AnyRow]:
    """Merge both in the order of time, each in its own order: an attempt ends after its events."""
    merged: list[AnyRow] = []
    reported = reported[:]
    for row in ended:
        while reported and reported[0].created_at <= row.finished_at:
            merged.append(reported.pop(0))
        merged.append(row)
    return merged + reported


def _passed(position: _Position, row: AnyRow) -> _Position:
    if _is_end_of_attempt(row):
        return replace(position, ended=Ended(position.ended.count + 1, row.finished_at), is_end=False)
    return replace(position, number=row.number, is_end=False)


def _event(row: AnyRow, position: _Position) -> Event:
    common: dict[str, Any] = {"id": str(position), "job_id": row.job_id, "step": row.step}
    if _is_end_of_attempt(row):
        data = {"category": row.error_category} if row.error_category else None
        return Event(kind=f"job.{row.outcome}", at=row.finished_at, attempt=row.number, data=data, **common)
    data = masked(json.loads(row.data), by_name=False)
    return Event(kind=row.kind, at=row.created_at, attempt=row.attempt, data=data, **common)


def _is_end_of_attempt(row: AnyRow) -> bool:
    return "outcome" in row._mapping


def _started(workflow: AnyRow, position: _Position) -> Event:
    data = {"name": workflow.name}
    return Event(id=str(position), kind="workflow.started", at=workflow.created_at, data=data)


def _ended(workflow: AnyRow, position: _Position) -> Event:
    return Event(id=str(position), kind=f"workflow.{workflow.status}", at=workflow.finished_at)
