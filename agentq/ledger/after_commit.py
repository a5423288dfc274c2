"""Work that follows a commit, in transactions of its own. If it is lost, a caretaker does it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from agentq.policies.limits import Meters


@dataclass(frozen=True, slots=True)
class Enter:
    """Jobs of a tenant have begun to stand in the line of a limit: it is awaited, and some may be admitted."""

    limit: str
    tenant: str


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A job that holds slots has ended, or waits for its time: they are free, and others may be admitted."""

    job_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class Admit:
    """A slot of a limit was freed: jobs that wait for it may be admitted."""

    limit: str


@dataclass(frozen=True, slots=True)
class LetIn:
    """A workflow was postponed, or has ended: those that come first in the line of a cap may be let in."""

    line: str


@dataclass(frozen=True, slots=True)
class Declare:
    """Jobs have limits, by name with what code declares, that may not be there yet."""

    meters: tuple[tuple[str, Meters], ...]


@dataclass(frozen=True, slots=True)
class EndSleep:
    """A sleep is over."""

    job_id: uuid.UUID


AfterCommit = Declare | Enter | GiveBack | Admit | LetIn | EndSleep
