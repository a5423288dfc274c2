"""What live workers know, the queues that each consumes and what it can run, and what a job needs of one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, WorkerRow
from agentq.states import RUNNABLE, JobKind

_LIVE = (
    select(WorkerRow.knows, func.count().label("workers"))
    .where(WorkerRow.lease_until > now(), WorkerRow.stopped_at.is_(None))
    .group_by(WorkerRow.knows)
)


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """What a job needs of a worker."""

    queue: str
    kind: str
    step: str
    takes: str = ""
    """The digest of the parameters that its arguments are for; empty where any will do."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What one worker consumes and can run. A step is a task too; ``tasks`` are those that are no steps.

    Of each by its name the digest of its parameters; empty where it was not told, as by a release before.
    """

    queues: frozenset[str]
    steps: Mapping[str, str]
    tasks: Mapping[str, str]

    def dump(self) -> str:
        """Return it as the text that the ledger keeps."""
        told = {"queues": sorted(self.queues), "steps": self.steps, "tasks": self.tasks}
        return json.dumps(told, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Knowledge:
        """Return what the ledger keeps; names of another release that are no longer used are left out."""
        data = json.loads(text)
        steps, tasks = (_digests(data.get(name, {})) for name in ("steps", "tasks"))
        return cls(frozenset(data.get("queues", ())), steps, tasks)

    def fits(self, need: Need) -> bool | None:
        """Return whether such a job can run; None where that was not told."""
        digest = self.steps.get(need.step) if need.kind in RUNNABLE else None
        if digest is None and need.kind == JobKind.TASK:
            digest = self.tasks.get(need.step)
        if digest is None or not need.takes:
            return digest is not None
        return digest == need.takes if digest else None


@dataclass(frozen=True, slots=True)
class Asked:
    """How many live workers consume the queue of a job, and how many of these can run it."""

    consuming: int
    fitting: int

    def says_nobody_knows(self, need: Need) -> str:
        """Say so of a step that none of them knows."""
        return f"no live worker knows {need.kind} {need.step!r}; {self._were_asked}"

    def says_who_takes(self) -> str:
        """Say how many take the arguments of a job that another worker left for them."""
        if not self.fitting:
            return f"no live worker takes them; {self._were_asked}"
        return "1 live worker takes them" if self.fitting == 1 else f"{self.fitting} live workers take them"

    @property
    def _were_asked(self) -> str:
        return f"{self.consuming} live {'worker was' if self.consuming == 1 else 'workers were'} asked"


@dataclass(frozen=True, slots=True)
class Live:
    """The live workers: those that told what they know, alike ones together, and how many did not tell."""

    told: Sequence[tuple[Knowledge, int]]
    silent: int = 0

    def ask(self, need: Need) -> Asked | None:
        """Return how many consume the queue, and how many of these fit the job; None where some did not tell."""
        found = [(known.fits(need), workers) for known, workers in self.told if need.queue in known.queues]
        if self.silent or any(fits is None for fits, _ in found):
            return None
        return Asked(sum(workers for _, workers in found), sum(workers for fits, workers in found if fits))

    def may_run(self, need: Need) -> bool:
        """Return whether one of them runs such jobs, as far as is known."""
        asked = self.ask(need)
        return asked is None or asked.fitting > 0

    def runs(self, need: Need) -> bool:
        """Return whether one of them surely runs such jobs."""
        return any(known.fits(need) for known, _ in self.told if need.queue in known.queues)

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


def needs_of(connection: Connection, jobs: Collection[uuid.UUID]) -> dict[uuid.UUID, Need]:
    """Return what those *jobs* need that the ledger has, whatever their arguments."""
    rows = connection.execute(select(JobRow.id, JobRow.queue, JobRow.kind, JobRow.step).where(JobRow.id.in_(jobs)))
    return {row.id: Need(row.queue, row.kind, row.step) for row in rows}


def parameters_at_start(terms: str | None, step: str) -> str:
    """Return the digest of a step's parameters from the terms of a start; empty where these do not have it."""
    kept: dict[str, Any] = {} if terms is None else json.loads(terms).get(step, {})
    return str(kept.get("takes", ""))


def _digests(told: dict[str, str] | list[str]) -> dict[str, str]:
    # A worker of a release before tells names alone.
    return told if isinstance(told, dict) else dict.fromkeys(told, "")
