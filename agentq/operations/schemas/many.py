"""Models of one decision on many."""

from __future__ import annotations

import uuid
from typing import Generic, TypeVar

from agentq.operations.schemas.record import Record

S = TypeVar("S")


class Refused(Record):
    """One of many that was left as it was, and why."""

    id: uuid.UUID
    why: str


class Decided(Record, Generic[S]):
    """The result of one decision on many, or of its dry run."""

    done: list[S]
    """The rows that it was carried out for, oldest first, as they are now."""
    refused: list[Refused] = []
    fit: int
    """The number of rows that the filter found; more than these where the limit was lower."""
