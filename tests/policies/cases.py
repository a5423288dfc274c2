"""A row of the golden table: what a provider does, what the error is then, and what the default policy does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from agentq.policies import Category, OnError
from tests.policies.server import Answer, Manner

NOW = 1_795_000_000.0
"""The wall clock of the golden tests."""


@dataclass(frozen=True)
class Does:
    """The action of the default policy after a first attempt: the delay with the least and the most of luck."""

    action: OnError
    least: float = 0.0
    most: float = 0.0


FAILS = Does(OnError.FAIL)
CLIMBS = Does(OnError.RETRY, 10, 15)
"""Without a Retry-After: the first pause of the ladder."""
BACKS_OFF = Does(OnError.RETRY, 0, 4)
SOON = Does(OnError.RETRY, 0, 2)


def defers(retry_after: float, action: OnError = OnError.DEFER) -> Does:
    """The provider gave a Retry-After: never less, and some more, so that not all come back at once."""
    return Does(action, retry_after, retry_after + max(1.0, retry_after / 2))


@dataclass(frozen=True)
class Case:
    """A row."""

    name: str
    clients: tuple[str, ...]
    answer: Answer
    category: Category
    does: Does
    code: str | None = None
    request_id: str | None = None

    @property
    def status(self) -> int | None:
        return self.answer.status if self.answer.manner is Manner.ANSWERS else None


def date(after: float) -> str:
    """Return an HTTP date so many seconds from now."""
    return formatdate(NOW + after, usegmt=True)


def unreachable(clients: tuple[str, ...]) -> list[Case]:
    """The rows of a provider that cannot be reached, the same for all."""
    return [
        Case("stays silent", clients, Answer(manner=Manner.STAYS_SILENT), Category.TIMEOUT, BACKS_OFF),
        Case("hangs up", clients, Answer(manner=Manner.HANGS_UP), Category.CONNECTION, BACKS_OFF),
        Case("resets", clients, Answer(manner=Manner.RESETS), Category.CONNECTION, BACKS_OFF),
    ]


def stops_half_way(clients: tuple[str, ...]) -> Case:
    """The row of an answer that is cut off; botocore takes it for a whole one."""
    answer = Answer(200, {"half": "an answer"}, manner=Manner.STOPS_HALF_WAY)
    return Case("stops half-way", clients, answer, Category.CONNECTION, BACKS_OFF)


Body = Mapping[str, Any] | str
GATEWAY_PAGE = "<html><head><title>Bad gateway</title></head><body><center>nginx</center></body></html>"
