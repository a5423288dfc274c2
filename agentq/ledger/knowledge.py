"""What live workers know, the queues that each consumes and what it can run, and what a job needs of one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from agentq.ledger.models import JobRow, WorkerRow
from agentq.ledger.types import now
from agentq.states import JobKind

_LIVE = (
    select(WorkerRow.knows, func.count().label("workers"))
    .where(WorkerRow.lease_until > now(), WorkerRow.stopped_at.is_(None))
    .group_by(WorkerRow.knows)
)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one worker consumes and can run. A step is a task too; ``tasks`` are those that are no steps."""

    queues: frozenset[str]
    steps: frozenset[str]
    tasks: frozenset[str]

    def dump(self) -> str:
        """Return it as the text that the ledger keeps."""
        return json.dumps({name: sorted(getattr(self, name)) for name in self.__slots__})

    @classmethod
    def load(cls, text: str) -> Knowledge:
        """Return what the ledger keeps; names of another release that are no longer used are left out."""
        data = json.loads(text)
        return cls(*(frozenset(data.get(name, ())) for name in cls.__slots__))

    def has(self, kind: str, name: str) -> bool:
        """Return whether a job of this kind and name can run."""
        return name in self.steps or (kind == JobKind.TASK and name in self.tasks)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the live workers that consume a queue say of a step."""

    consuming: int
    knowing: int

    def says_nobody_knows(self, kind: str, name: str) -> str:
        """Say so of a step that none of them knows."""
        were = "live worker was" if self.consuming == 1 else "live workers were"
        return f"no live worker knows {kind} {name!r}; {self.consuming} {were} asked"


@dataclass(frozen=True, slots=True)
class Live:
    """The live workers: those that told what they know, alike ones together, and how many did not tell."""

    told: Sequence[tuple[Knowledge, int]]
    silent: int = 0

    def ask(self, queue: str, kind: str, name: str) -> Asked | None:
        """Return how many consume the queue, and how many of these know the step; None where some did not tell."""
        if self.silent:
            return None
        consuming = [(knowledge, workers) for knowledge, workers in self.told if queue in knowledge.queues]
        knowing = sum(workers for knowledge, workers in consuming if knowledge.has(kind, name))
        return Asked(sum(workers for _, workers in consuming), knowing)

    def may_know(self, queue: str, kind: str, name: str) -> bool:
        """Return whether one of them runs such jobs of the queue, as far as is known."""
        asked = self.ask(queue, kind, name)
        return asked is None or asked.knowing > 0

    @property
    def workers(self) -> int:
        """How many there are."""
        return self.silent + sum(workers for _, workers in self.told)


NOBODY = Live(())


def live(connection: Connection) -> Live:
    """Return what the live workers know, with one statement."""
    rows = connection.execute(_LIVE).all()
    return Live(
        [(Knowledge.load(row.knows), row.workers) for row in rows if row.knows is not None],
        sum(row.workers for row in rows if row.knows is None),
    )


def needs_of(connection: Connection, jobs: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[str, str, str]]:
    """Return the queue, kind and step of those *jobs* that the ledger has."""
    rows = connection.execute(select(JobRow.id, JobRow.queue, JobRow.kind, JobRow.step).where(JobRow.id.in_(jobs)))
    return {row.id: (row.queue, row.kind, row.step) for row in rows}
