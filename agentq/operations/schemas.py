"""Read models: what every surface shows. Operations mask secrets in them, so that no surface can forget."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, computed_field

from agentq.operations.attempt_counts import attempts_summary
from agentq.states import (
    WORKFLOW_FINAL,
    AttemptOutcome,
    DeadLetterKind,
    DeadLetterStatus,
    JobKind,
    JobStatus,
    WaitReason,
    WorkerStatus,
    WorkflowStatus,
)

S = TypeVar("S")


class _Record(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class WorkflowSummary(_Record):
    """One line of a list of workflows."""

    id: uuid.UUID
    name: str
    tenant: str
    key: str | None
    status: WorkflowStatus
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    error_category: str | None
    error_class: str | None
    error_message: str | None
    """The error that it failed of; None unless it is failed."""


class ByHand(_Record):
    """The person who gave a job its result, with reason and time."""

    actor: str
    reason: str
    created_at: datetime


class JobSummary(_Record):
    """One line of a list of jobs."""

    id: uuid.UUID
    workflow_id: uuid.UUID
    tenant: str
    kind: JobKind
    step: str
    status: JobStatus
    attempt: int
    max_attempts: int
    """The numbers of the last attempt that began, and of the last one that it may have."""
    attempts_before: int
    uncounted: int
    """Attempts that count no more, since it was replayed, or never did: a deferral, a worker that was stopped."""
    queue: str
    priority: int | None
    waiting_for: str | None
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: uuid.UUID | None
    error_category: str | None
    error_class: str | None
    error_message: str | None
    by_hand: ByHand | None
    """The person who gave its result: worker and times are still those of the last attempt, which failed."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator on top of a property
    @property
    def attempts_summary(self) -> str:
        """The attempts that count, of those that it may have, for people: ``3 of 5, 2 more at no cost``."""
        return attempts_summary(self)


class Attempt(_Record):
    """One finished attempt."""

    number: int
    outcome: AttemptOutcome
    worker_id: uuid.UUID | None
    started_at: datetime | None
    finished_at: datetime
    error_category: str | None
    error_class: str | None
    error_message: str | None
    error_traceback: str | None
    error_provider: str | None
    error_status: int | None
    error_code: str | None
    error_request_id: str | None


class Action(_Record):
    """One thing that an operator did."""

    job_id: uuid.UUID | None
    action: str
    actor: str
    reason: str
    created_at: datetime


class DeadLetterSummary(_Record):
    """One line of a list of dead letters."""

    id: uuid.UUID
    kind: DeadLetterKind
    status: DeadLetterStatus
    job_id: uuid.UUID | None
    workflow_id: uuid.UUID | None
    tenant: str
    step: str
    attempts: int
    """The number of the attempt after which the job was dead."""
    needs_person: bool
    owner: str | None
    note: str | None
    messages: int
    error_category: str | None
    error_class: str | None
    error_message: str | None
    created_at: datetime
    recorded_at: datetime | None
    closed_at: datetime | None


class DeadLetterAction(Action):
    """One action of a person on a dead letter."""

    replaced: Any = None
    """The ``[args, kwargs]`` that an edit replaced, with secrets masked; None for any other action."""


class DeadLetter(DeadLetterSummary):
    """Everything about a dead letter: what handlers are given."""

    snapshot: Any
    """The job when it died, with every attempt; of a message, what could be read of it. Secrets are masked."""
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    """The arguments that the job has now, also after an edit, with secrets masked; None of a message."""
    replays: int
    """The number of replays of the job, with its earlier dead letters."""
    actions: list[DeadLetterAction] = []


class DeadLetterCount(_Record):
    """The number of dead letters that have one value in common; None where they have none."""

    value: str | None
    letters: int


class Refused(_Record):
    """One of many that was left as it was, and why."""

    id: uuid.UUID
    why: str


class Decided(_Record, Generic[S]):
    """The result of one decision on many, or of its dry run."""

    done: list[S]
    """The rows that it was carried out for, oldest first, as they are now."""
    refused: list[Refused] = []
    fit: int
    """The number of rows that the filter found; more than these where the limit was lower."""


class Replays(Decided[DeadLetterSummary]):
    """The result of a replay of many."""

    capped: list[DeadLetterSummary] = []
    """The dead letters that were left because they had been replayed too often."""


class Job(JobSummary):
    """Everything about a job. Arguments and result have secrets masked."""

    after_id: uuid.UUID | None
    join_id: uuid.UUID | None
    position: int | None
    timeout: float | None
    expires_at: datetime | None
    due_reason: str | None
    """The reason of its last delay, beside ``due_at``."""
    # Read from rows, whose columns have the older word.
    deferrals: int = Field(validation_alias="waits")
    """The number of deferrals since it began or was replayed, ``deferred`` seconds in all."""
    deferred: float = Field(validation_alias="waited")
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any
    attempts: tuple[Attempt, ...] = ()


class WorkflowDetails(WorkflowSummary):
    """Everything about a workflow."""

    jobs: list[Job]
    actions: list[Action]


class Queue(_Record):
    """One queue, in the ledger and at the broker."""

    name: str
    depth: int | None
    """Messages at the broker that no worker has taken; None where the broker was not asked, or did not answer."""
    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None
    """Seconds since the queued job that waits longest was last dispatched."""
    capped: tuple[JobStatus, ...]
    """The counts at which counting stopped: there are at least that many."""


class NumberPerTime(_Record):
    """The starts, or the tokens, that a period of a limit may have."""

    limit: int
    per: float
    """Seconds of the period."""

    def __str__(self) -> str:
        return f"{self.limit}/{self.per:g}"


class Override(_Record):
    """The meters of a limit that an operator has set in place of those that code declares; None for the others."""

    slots: int | None
    rate: NumberPerTime | None
    tokens: NumberPerTime | None
    until: datetime | None
    actor: str
    reason: str


class CoolingLimit(_Record):
    """A limit that cools, or has cooled and opens by degrees."""

    until: datetime
    seconds: float
    """Seconds to its end; 0 where that has passed, and fewer jobs may run at once than there are slots."""
    reason: str
    """The answer of the provider, such as 429; or who said so, and why."""


class Limit(_Record):
    """One limit: its meters, and how many jobs hold or await it."""

    name: str
    slots: int | None
    """The slots in force: those of the override, or else those that code declares. With 0 it is paused."""
    declared: int | None
    """The slots that code declares; None for any number."""
    at_once: int | None
    """The jobs that may hold it now: its slots, or fewer after a cooldown. None for any number."""
    rate: NumberPerTime | None
    """The attempts that may start in a period; None for any number."""
    declared_rate: NumberPerTime | None
    tokens: NumberPerTime | None
    """The tokens that attempts may use in a period; None for any number."""
    declared_tokens: NumberPerTime | None
    cooldown: CoolingLimit | None
    override: Override | None
    used: int
    """The number of jobs that hold a slot; more than the slots, if these were lowered since."""
    waiting: int
    """The number of jobs in its line, counted up to 1,000."""
    is_capped: bool
    """True where counting stopped: there are at least that many."""


class LineOfTenant(_Record):
    """The jobs of one tenant in the line of a limit."""

    tenant: str
    weight: float
    served: float
    """A measure of the slots that it was given, divided by its weight: the least one comes next."""
    waiting: int
    """The number of its jobs, counted up to 1,000."""
    is_capped: bool


class Hold(_Record):
    """A slot of a limit that an attempt holds beside those of its job."""

    job_id: uuid.UUID
    step: str
    attempt: int
    is_running: bool
    """True where the attempt runs, and took the slot for a block of its step; False where it is over."""
    until: datetime | None
    """The time from which no code of it can run, for a strict limit: a lost attempt keeps the slot until then."""
    created_at: datetime


class LimitChange(_Record):
    """One change that an operator made to a limit."""

    name: str
    before: int | None
    after: int | None
    """The slots that were in force before it, and after it."""
    rate_before: str | None
    rate_after: str | None
    """The starts of a period, such as 500/60."""
    tokens_before: str | None
    tokens_after: str | None
    cools_until: datetime | None
    """The end of the cooldown that it began, or ended; None where it changed a meter."""
    until: datetime | None
    """The end of the override; None where it has none, or was cleared."""
    actor: str
    reason: str
    created_at: datetime


class Tenant(_Record):
    """One tenant, and what operators have set for it; all others weigh 1."""

    tenant: str
    weight: float
    max_open: int | None = None
    """The cap of its open workflows; None for the setting ``max_open`` of the programs that start them."""
    open: int = 0
    is_capped: bool = False
    """True where there are more than were counted."""


class TenantChange(_Record):
    """One change that an operator made to how many workflows of a tenant may be open."""

    tenant: str
    before: int | None
    after: int | None
    """None for as many as code says."""
    actor: str
    reason: str
    created_at: datetime


class TenantDetails(Tenant):
    """Everything about a tenant."""

    oldest_at: datetime | None
    """The start of the oldest of its open workflows."""
    changes: list[TenantChange]
    """The last ones, newest first."""


class Worker(_Record):
    """One worker process, from its start until a week after its end."""

    id: uuid.UUID
    hostname: str
    pid: int
    status: WorkerStatus
    running: int
    """The number of jobs it runs."""
    started_at: datetime
    seen_at: datetime
    lease_until: datetime
    stopped_at: datetime | None
    refused_messages: int


class WorkerDetails(Worker):
    """Everything about a worker."""

    queues: list[str]
    """The queues that it consumes, as it last reported; this and the next two are empty until then."""
    steps: list[str]
    """The steps that it can run."""
    tasks: list[str]
    """The plain Celery tasks that it can run."""

    jobs: list[JobSummary]
    """The jobs that it runs, newest first; of very many, the newest."""


class LimitDetails(Limit):
    """Everything about a limit."""

    tenants: list[LineOfTenant]
    """The tenants whose jobs stand in its line, the next one first; up to 100."""
    holders: list[JobSummary]
    """The jobs that hold a slot of it, newest first; up to 100."""
    holds: list[Hold]
    """The slots that attempts took inside their steps, or keep though they were lost, newest first; up to 100."""
    changes: list[LimitChange]
    """The last changes that operators made, newest first; up to 10."""


class Reason(_Record):
    """The reason why one job is not done, and the event that ends it."""

    job_id: uuid.UUID
    step: str
    status: JobStatus
    name: WaitReason
    waiting_for: str
    ends: str
    """The event, with a command that shows more or brings it about."""


class Why(_Record):
    """The reasons why a workflow or a job is not done; none where it is."""

    workflow_id: uuid.UUID
    job_id: uuid.UUID | None
    """The job that was asked for; None where it was the workflow."""
    status: WorkflowStatus | JobStatus
    reasons: list[Reason]
    """Those first that all others wait for."""
    is_complete: bool
    """False where there are more jobs than these that are not done."""
    workers: str
    """The next step where no live worker uses the ledger; empty where one does."""


class Pruned(_Record):
    """The result of a prune, or of its dry run."""

    workflows: int
    jobs: int
    dead_letters: int
    limits: int
    """Limits that no job names any more; of a dry run, those that no job names yet before it."""
    is_dry_run: bool
    is_complete: bool
    """False where it stopped at its limit: there is more to delete."""


class Event(_Record):
    """An event of a workflow, for its followers."""

    id: str
    """The reader's position after this event, to go on from. Text without spaces, of under 64 characters."""
    kind: str
    """``progress`` or a kind of a step's own; or, with a dot, agentq's: ``workflow.started``, ``job.retried``."""
    at: datetime
    job_id: uuid.UUID | None = None
    step: str | None = None
    attempt: int | None = None
    data: Any = None
    """Of ``progress`` an object with done, total and message. Texts that look like secrets are masked."""

    @property
    def is_end(self) -> bool:
        """True for the event of the workflow's end, the last one."""
        return self.kind in _ENDS


_ENDS = frozenset(f"workflow.{status}" for status in WORKFLOW_FINAL)
