"""The states of workflows and jobs, and the moves between them. Imports nothing of agentq.

The ledger's CHECK constraints and domains, the audit, the command line's choices, Django's admin and the
documentation derive from this file.
"""

from __future__ import annotations

from enum import StrEnum


class WorkflowStatus(StrEnum):
    """The status of a workflow."""

    RUNNING = "running"
    """Started and not ended. Left by its last job, its first failure, or a cancel."""
    SUCCEEDED = "succeeded"
    """Its last job succeeded; the result can be read."""
    FAILED = "failed"
    """One of its jobs failed for good. Branches that do not depend on that job still run. Left by a replay."""
    CANCELLED = "cancelled"
    """A person cancelled it, or it expired before it ran."""


class JobStatus(StrEnum):
    """The status of a job."""

    WAITING = "waiting"
    """Waits for the jobs before it. Left in the hand-over of the last of them."""
    SCHEDULED = "scheduled"
    """Waits for its due time (a retry, a delay). Left when the caretaker dispatches it."""
    BLOCKED = "blocked"
    """Ready, but held back: ``blocked_by`` says by what. Left when that lets it go."""
    QUEUED = "queued"
    """Ready; its message is published, or about to be. Left by a claim."""
    RUNNING = "running"
    """Claimed by a worker that has a lease. Left by the attempt's outcome or by a rescue."""
    SUCCEEDED = "succeeded"
    """Done; its result is kept and was handed over."""
    FAILED = "failed"
    """Failed for good; its last error is kept. Left only by a replay or a resolution of its dead letter, or
    that of a member."""
    CANCELLED = "cancelled"
    """Cancelled or expired before it was done. Left only by a replay of the fan-in that misses it."""


class BlockedBy(StrEnum):
    """The reason that holds back a job which is ready otherwise."""

    LIMIT = "limit"
    """A limit that has no slot free."""
    BACKLOG = "backlog"
    """A cap: its workflow is postponed, until fewer are open or fewer jobs wait."""


class MeterSource(StrEnum):
    """The source of a number of a limit."""

    CODE = "code"
    """Code, or the setting of an ordered queue."""
    FILE = "file"
    """The limits file of a worker."""
    OVERRIDE = "override"
    """An operator, who set it in place of the declared one."""


class WaitReason(StrEnum):
    """The reason why a job is not done."""

    ATTEMPT = "attempt"
    """An attempt at it runs."""
    WORKER = "worker"
    """It is ready, and no worker has taken it."""
    SLOT = "slot"
    """A limit of it has no slot free, or it is not its turn."""
    PAUSED = "paused"
    """An operator has paused a limit of it."""
    COOLDOWN = "cooldown"
    """A limit of it cools, since a provider refused a call, or an operator said so."""
    RATE = "rate"
    """The time of its start has not come, by the rate of a limit."""
    TOKENS = "tokens"
    """A limit has too few tokens left for it."""
    TIME = "time"
    """Its time has not come: a retry, a delay."""
    BACKLOG = "backlog"
    """Its workflow is postponed: as many of the tenant are open, or jobs of a step wait, as may."""
    DECISION = "decision"
    """It failed for good, and its dead letter is open."""
    JOBS = "jobs"
    """Jobs before it have not succeeded."""
    MEMBERS = "members"
    """Members of it, a fan-in, have not ended."""


class OnFull(StrEnum):
    """The fate of a start over a cap."""

    REFUSE = "refuse"
    """It raises BacklogFull, and nothing is started."""
    POSTPONE = "postpone"
    """The workflow is written, and begins when there is room for it."""


class Overlap(StrEnum):
    """The fate of a tick whose schedule has a workflow that is still open."""

    SKIP = "skip"
    """The tick starts nothing, and is counted."""
    QUEUE = "queue"
    """It is owed: its workflow begins when the open one has ended. At most one is owed, others are skipped."""
    ALLOW = "allow"
    """It starts its workflow beside the open one."""
    CANCEL = "cancel"
    """The open one is cancelled, and it starts its workflow."""


class ScheduleAction(StrEnum):
    """The kind of a change in the history of a schedule."""

    CREATE = "create"
    CHANGE = "change"
    """Newer code has another definition."""
    PAUSE = "pause"
    RESUME = "resume"
    TRIGGER = "trigger"
    BACKFILL = "backfill"
    REMOVE = "remove"


class JobKind(StrEnum):
    """The kind of a row of the job table."""

    STEP = "step"
    """A step to be run by a worker."""
    TASK = "task"
    """A plain Celery task to be run by a worker under the default policy."""
    JOIN = "join"
    """A fan-in: done when all its members are; its result is the ordered list of theirs."""
    EACH = "each"
    """Becomes one branch per item of the list before it, then a fan-in of those branches."""
    SLEEP = "sleep"
    """Done at its time, which no worker waits for; its result is that of the job before it."""


class OnFailure(StrEnum):
    """The effect of a job's failure for good on its workflow."""

    STOP = "stop"
    """The workflow is failed; what depends on the job waits, and goes on after a replay."""
    CONTINUE = "continue"
    """The fan-in that the job leads to goes on without that member."""
    FAIL = "fail"
    """The workflow is failed as a whole: all its other jobs are cancelled."""


CAPS = ("max_open", "max_backlog")
"""The caps, as settings and lines of postponed workflows name them: no limit can have one of these names."""
MOST_COUNTED = 1_000_000
"""The highest cap of open workflows, and of jobs that wait: a start counts them, up to their cap."""
MIDDLE_PRIORITY = 4
"""The priority of a job that names none."""
MISSING_MEMBERS = "missing_members"
"""The error category of a fan-in with missing members."""
UNKNOWN_TASK = "agentq.UnknownTask"
"""The error class of a job that a worker left for another one, whose code has the task."""
OTHER_PARAMETERS = "agentq.OtherParameters"
"""The error class of a job that a worker left for another one, whose step takes the arguments."""
RUNNABLE = frozenset({JobKind.STEP, JobKind.TASK})
"""Kinds that workers run: these alone are queued and have attempts."""
FAN_INS = frozenset({JobKind.JOIN, JobKind.EACH})
"""Kinds that collect the results of their members: the hand-over of the last member finishes them."""

WORKFLOW_FINAL = frozenset({WorkflowStatus.SUCCEEDED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED})
JOB_FINAL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
JOB_OPEN = frozenset(JobStatus) - JOB_FINAL
HOLDING = frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.BLOCKED})
"""The statuses of a job in which it may hold slots of its limits."""
JOB_AHEAD = JOB_OPEN - {JobStatus.RUNNING}
"""The statuses of a job that has an attempt to come."""
JOB_MOVING = frozenset({JobStatus.SCHEDULED, JobStatus.BLOCKED, JobStatus.QUEUED, JobStatus.RUNNING})
"""The statuses of a job that goes on by itself: at its time, by a worker, or by a rescue."""
JOB_EXPIRING = JOB_AHEAD - {JobStatus.WAITING}
"""The statuses in which a job expires: the jobs before it are done, and it has not begun."""
JOB_BACKLOG = JOB_EXPIRING
"""The statuses in which a job counts into the backlog of its step: it waits for a worker, a slot or its time."""
JOB_WITHOUT_RESULT = JOB_FINAL - {JobStatus.SUCCEEDED}
"""The statuses of a job that ended without a result."""

JOB_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.WAITING: frozenset(
        {
            JobStatus.QUEUED,
            JobStatus.BLOCKED,
            JobStatus.SCHEDULED,
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.CANCELLED,
        }
    ),
    JobStatus.SCHEDULED: frozenset(
        {JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.BLOCKED: frozenset({JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.QUEUED: frozenset(
        {JobStatus.RUNNING, JobStatus.BLOCKED, JobStatus.SCHEDULED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.RUNNING: frozenset(
        {
            JobStatus.SUCCEEDED,
            JobStatus.FAILED,
            JobStatus.CANCELLED,
            JobStatus.SCHEDULED,
            JobStatus.QUEUED,
            JobStatus.BLOCKED,
        }
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.SCHEDULED, JobStatus.SUCCEEDED, JobStatus.WAITING}),
    JobStatus.CANCELLED: frozenset({JobStatus.SCHEDULED, JobStatus.WAITING}),
}
"""Allowed moves. Waiting to succeeded or failed is for fan-ins, which no worker runs, and scheduled to succeeded
for a sleep; scheduled, blocked or
queued to failed is for a deadline; queued to scheduled for what a person's command made ready, or, as blocked to
scheduled, for a job that was moved to another queue; queued to blocked is for slots that others wait for, where no
worker comes, and for a job whose limits just got their names; out of failed is for the replay of a dead letter,
or its result by hand; out of cancelled, and from failed to waiting, for the members of a fan-in whose dead letter
is replayed, and for the fan-in."""


class DeadLetterKind(StrEnum):
    """The subject of a dead letter."""

    JOB = "job"
    """A job that failed for good."""
    MESSAGE = "message"
    """A message that no worker could take: no Celery message, or of an unknown task."""


class DeadLetterStatus(StrEnum):
    """The status of a dead letter."""

    OPEN = "open"
    """Waits for a person, or a program, to decide."""
    REPLAYED = "replayed"
    """The job was given new attempts. If it fails again, that is a new dead letter."""
    RESOLVED = "resolved"
    """A person supplied the result by hand, and the workflow went on with it."""
    CANCELLED = "cancelled"
    """Cancelled: no further action follows."""


class WorkerStatus(StrEnum):
    """The status of a worker, as its lease says."""

    ALIVE = "alive"
    """Its lease runs."""
    STOPPED = "stopped"
    """It signed off, and gave back its jobs."""
    LOST = "lost"
    """Its lease ended without a word: it died, was killed, or cannot reach the ledger."""


class AttemptOutcome(StrEnum):
    """The end of one attempt at a job."""

    SUCCEEDED = "succeeded"
    RETRIED = "retried"
    """Failed, and the job will be tried again."""
    FAILED = "failed"
    """Failed, and the job will not be tried again."""
    LOST = "lost"
    """The worker died, was killed or lost its lease; another worker recorded it."""
    RELEASED = "released"
    """The worker gave the job back, as it was stopped or its code could not run it; does not count."""
    CANCELLED = "cancelled"
    """The job was cancelled while it ran."""
