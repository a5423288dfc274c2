"""The queues that each live worker consumes, the steps and tasks it can run, and the needs of a job."""

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
    """The name and parameters that a job asks a worker for."""

    queue: str
    kind: str
    step: str
    takes: str = ""
    """The digest of the parameters that its arguments are for; empty where any will do."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The queues that one worker consumes, and the steps and tasks it can run. ``tasks`` has no steps in it.

    Of each by its name the digest of its parameters; empty where a worker of an older release did not write it.
    """

    queues: frozenset[str]
    steps: Mapping[str, str]
    tasks: Mapping[str, str]

    def dump(self) -> str:
        """Return it as the text that the ledger keeps."""
        known = {"queues": sorted(self.queues), "steps": self.steps, "tasks": self.tasks}
        return json.dumps(known, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Knowledge:
        """Return what the ledger keeps; names of another release that are no longer used are left out."""
        data = json.loads(text)
        steps, tasks = (_digests(data.get(name, {})) for name in ("steps", "tasks"))
        return cls(frozenset(data.get("queues", ())), steps, tasks)

    def fits(self, need: Need) -> bool | None:
        """Return whether such a job can run; None where the worker did not write it."""
        digest = self.steps.get(need.step) if need.kind in RUNNABLE else None
        if digest is None and need.kind == JobKind.TASK:
            digest = self.tasks.get(need.step)
        if digest is None or not need.takes:
            return digest is not None
        return digest == need.takes if digest else None


@dataclass(frozen=True, slots=True)
class Asked:
    """The number of live workers that consume the queue of a job, and of those that can run it."""

    consuming: int
    fitting: int

    def says_no_worker_knows(self, need: Need) -> str:
        """Say so of a step that none of them knows."""
        return f"no live worker knows {need.kind} {need.step!r}; {self._were_asked}"

    def says_how_many_take(self) -> str:
        """Say how many take the arguments of a job that another worker left for them."""
        if not self.fitting:
            return f"no live worker takes them; {self._were_asked}"
        return "1 live worker takes them" if self.fitting == 1 else f"{self.fitting} live workers take them"

    @property
    def _were_asked(self) -> str:
        return f"{self.consuming} live {'worker was' if self.consuming == 1 else 'workers were'} asked"


@dataclass(frozen=True, slots=True)
class Live:
    """The live workers: their reports, each with the number of workers that gave it, and how many gave none."""

    reports: Sequence[tuple[Knowledge, int]]
    silent: int = 0

    def ask(self, need: Need) -> Asked | None:
        """Return how many consume the queue, and how many of these fit the job; None where some wrote none."""
        found = [(known.fits(need), workers) for known, workers in self.reports if need.queue in known.queues]
        if self.silent or any(fits is None for fits, _ in found):
            return None
        return Asked(sum(workers for _, workers in found), sum(workers for fits, workers in found if fits))

    def may_consume(self, queue: str) -> bool:
        """Return whether one of them consumes a queue, as far as is known."""
        return self.silent > 0 or any(queue in known.queues for known, _ in self.reports)

    def may_run(self, need: Need) -> bool:
        """Return whether one of them runs such jobs, as far as is known."""
        asked = self.ask(need)
        return asked is None or asked.fitting > 0

    def runs(self, need: Need) -> bool:
        """Return whether one of them surely runs such jobs."""
        return any(known.fits(need) for known, _ in self.reports if need.queue in known.queues)

    @property
    def workers(self) -> int:
        """The number of live workers."""
        return self.silent + sum(workers for _, workers in self.reports)


NO_WORKERS = Live(())


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


def _digests(names: dict[str, str] | list[str]) -> dict[str, str]:
    # A worker of an older release reports names alone.
    return names if isinstance(names, dict) else dict.fromkeys(names, "")
