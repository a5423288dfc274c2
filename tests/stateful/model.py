"""The expected state: each worker's jobs, and each attempt's end, in plain dictionaries."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentq.ledger.records import Claim, Dispatch
from agentq.states import AttemptOutcome, DeadLetterStatus, JobStatus
from tests.stateful.shapes import Labelled, Shape
from tests.stateful.snapshot import Snapshot
from tests.support.fake_worker import FakeWorker


@dataclass(frozen=True)
class Message(Labelled):
    """A message in the broker."""

    dispatch: Dispatch
    label: str

    def __repr__(self) -> str:
        return f"<message for {self.label}>"


@dataclass(eq=False)
class Holding(Labelled):
    """An attempt that a worker was given, and how it ended."""

    claim: Claim
    worker: FakeWorker
    token: int
    label: str
    ended: AttemptOutcome | None = None
    is_recorded: bool = False
    """True if its own worker ended it."""
    result: str | None = None

    def record(self, outcome: AttemptOutcome, result: str | None = None) -> None:
        """Note that its own worker ended it so."""
        self.ended, self.is_recorded, self.result = outcome, True, result

    def __repr__(self) -> str:
        return f"<attempt {self.claim.attempt} at {self.label}>"


@dataclass(frozen=True)
class Running(Labelled):
    """A workflow that was started."""

    id: uuid.UUID
    number: int
    shape: Shape
    size: int
    tenant: str
    key: str | None

    def __repr__(self) -> str:
        return f"<workflow {self.number}: {self.shape.name} of {self.size}>"


@dataclass(slots=True)
class Model:
    """The machine's own book of what happened."""

    workflows: list[Running] = field(default_factory=list)
    holdings: list[Holding] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    lapsed: set[uuid.UUID] = field(default_factory=set)
    """Workers whose lease is over."""
    cancelled: set[uuid.UUID] = field(default_factory=set)
    letters: dict[uuid.UUID, list[DeadLetterStatus]] = field(default_factory=dict)
    """The dead letters of each job, oldest first."""
    supplied: dict[uuid.UUID, str] = field(default_factory=dict)
    """Results that were given by hand."""
    caps: dict[str, int | None] = field(default_factory=dict)
    """How many workflows of a tenant may be open, as an operator has said last; None for as many as code says."""
    died: set[str] = field(default_factory=set)
    """Lines of caps in which a process was to let workflows in and died before."""
    labels: dict[uuid.UUID, str] = field(default_factory=dict)
    """Short names of jobs, the same in every run of the same story."""

    def label(self, found: Snapshot) -> None:
        """Give names to the jobs that have none yet."""
        for job in found.jobs.values():
            self.labels.setdefault(job.id, f"job {len(self.labels) + 1} ({job.step.rpartition('.')[2]})")

    def job(self, label: str) -> uuid.UUID:
        """Return the job of this name."""
        return next(job_id for job_id, name in self.labels.items() if name == label)

    def by_key(self, tenant: str, key: str) -> Running | None:
        """Return the workflow that a tenant started under a key."""
        return next((item for item in self.workflows if (item.tenant, item.key) == (tenant, key)), None)

    def claimed(self) -> list[Holding]:
        """Return the attempts that are under way."""
        return [holding for holding in self.holdings if holding.ended is None]

    def recorded(self) -> list[Holding]:
        """Return the attempts that their own workers ended."""
        return [holding for holding in self.holdings if holding.is_recorded]

    def stale(self) -> list[Holding]:
        """Return the attempts that were taken from their workers."""
        return [holding for holding in self.holdings if holding.ended and not holding.is_recorded]

    def lost(self) -> list[Holding]:
        """Return the attempts under way at workers whose lease is over."""
        return [holding for holding in self.claimed() if holding.worker.worker_id in self.lapsed]

    def end(self, job_ids: Iterable[uuid.UUID], outcome: AttemptOutcome) -> None:
        """Note that the attempts at these jobs, if any, ended so."""
        wanted = set(job_ids)
        for holding in self.claimed():
            if holding.claim.job_id in wanted:
                holding.ended = outcome

    def cancel(self, workflow_id: uuid.UUID) -> None:
        """Note that a workflow was cancelled, with all that was under way in it."""
        self.cancelled.add(workflow_id)
        for holding in self.claimed():
            if holding.claim.workflow_id == workflow_id:
                holding.ended = AttemptOutcome.CANCELLED

    def note_dead(self, before: Snapshot, after: Snapshot) -> None:
        """Note a dead letter for each job that has just failed for good."""
        for job in after.having(JobStatus.FAILED):
            if (was := before.jobs.get(job.id)) is None or was.status != JobStatus.FAILED:
                self.letters.setdefault(job.id, []).append(DeadLetterStatus.OPEN)

    def dead(self) -> list[str]:
        """Return the names of the jobs that have an open dead letter."""
        return [self.labels[key] for key in sorted(self.letters) if self.letters[key][-1] == DeadLetterStatus.OPEN]

    def check(self, found: Snapshot) -> None:
        """Compare the ledger with this book."""
        self._check_attempts(found)
        results = {job.id: job.result for job in found.jobs.values() if job.result is not None}
        accepted = {item.claim.job_id: item.result for item in self.holdings if item.result is not None}
        assert results == accepted | self.supplied, "a result is not the one that was accepted"
        letters: dict[uuid.UUID, list[str]] = {}
        for letter in found.others["agentq_dead_letters"]:
            letters.setdefault(letter.job_id, []).append(letter.status)
        assert letters == self.letters, "the dead letters are not what happened"

    def _check_attempts(self, found: Snapshot) -> None:
        running = {job.id: (job.attempt, job.worker_id) for job in found.having(JobStatus.RUNNING)}
        claimed = {item.claim.job_id: (item.claim.attempt, item.worker.worker_id) for item in self.claimed()}
        assert running == claimed, "the ledger and the workers disagree on who runs what"
        history = {key: row.outcome for key, row in found.attempts.items()}
        ended = {(item.claim.job_id, item.claim.attempt): item.ended for item in self.holdings if item.ended}
        assert history == ended, "the history is not what happened"
        counts = {job.id: job.attempt for job in found.jobs.values() if job.attempt}
        claims: dict[uuid.UUID, int] = {}
        for item in self.holdings:
            claims[item.claim.job_id] = claims.get(item.claim.job_id, 0) + 1
        assert counts == claims, "an attempt was not counted, or counted twice"
