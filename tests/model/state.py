"""One state of the model: a row of small numbers, cheap to copy and to compare, with a name for each place."""

from __future__ import annotations

from agentq.states import JobStatus, WorkflowStatus

State = bytes

# The workflow's places. The last three are for promises only: no move reads them.
JOIN, REMAINING, WORKFLOW, CLIENT, OPERATOR, FIRED, STARTED, WRONG = range(8)

# A job's places, counted from where the job begins. The last five are for promises only.
STATUS, ATTEMPT, BEFORE, LIMIT, LAST, MESSAGES, LETTER, UNRECORDED, LETTER_MESSAGES, HOLDER = range(10)
CLAIMS, OUTCOMES, LETTERS, RECORDS, CLOSES = range(10, 15)
JOBS = HEADER_A, HEADER_B, BODY = 8, 23, 38
HEADERS = HEADER_A, HEADER_B

# A worker's places. JOB, HELD and DISPATCHES belong to the message in its hands.
LEASE, PHASE, JOB, HELD, DISPATCHES = range(5)
WORKERS = FIRST, SECOND = 53, 58
_AFTER = 63

BUDGETS = (
    *("crashes", "kills", "expiries", "errors", "deadlines"),
    *("stops", "leaves", "duplicates", "losses", "flushes", "unknown_commits"),
    *("cancels", "revokes", "replays", "resolves"),
)
"""The faults and requests from outside, each so many times at most."""
BUDGET = {name: place for place, name in enumerate(BUDGETS, _AFTER)}
SIZE = _AFTER + len(BUDGETS)

ABSENT = 0
CODE = {status: code for code, status in enumerate(JobStatus, 1)}
"""The engine's statuses of a job as numbers."""
WAITING, SCHEDULED, QUEUED, RUNNING = (
    CODE[status] for status in (JobStatus.WAITING, JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.RUNNING)
)
SUCCEEDED, FAILED, CANCELLED = (
    CODE[status] for status in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
)
OPEN_STATUSES = frozenset({WAITING, SCHEDULED, QUEUED, RUNNING})
WORKFLOW_CODE = {status: CODE[JobStatus(status)] for status in WorkflowStatus}
"""A workflow's statuses, which are named as a job's are."""
assert set(WORKFLOW_CODE.values()) == {RUNNING, SUCCEEDED, FAILED, CANCELLED}

DEAD, EXPIRED, LEASED = range(3)
FREE, DELIVERED, CLAIMED_UNKNOWN, CLAIMED, RETURNED, RAISED, RETURNED_UNKNOWN, RAISED_UNKNOWN = range(8)
COUNTED_NONE, COUNTED_ONE, PUBLISHING, DROPPING, DONE, UNFIT, UNFIT_UNKNOWN = range(8, 15)
PHASES = (
    *("free", "delivered", "claimed, no reply", "claimed", "returned", "raised", "recorded, no reply"),
    *("retry recorded, no reply", "counted none", "counted one", "publishing", "dropping", "done"),
    *("unfit", "left, no reply"),
)
NO_DISPATCHES, PUBLISH_BODY = range(2)
NO_LETTER, OPEN, REPLAYED, RESOLVED = range(4)
NOT_STARTED, STARTED_UNKNOWN, COMMITTED, DISPATCHED = range(4)
BROKEN_FENCE, BROKEN_MOVE = 1, 2

JOB_NAMES = {HEADER_A: "header A", HEADER_B: "header B", BODY: "body"}
WORKER_NAMES = {FIRST: "worker 1", SECOND: "worker 2"}
_JOB_PLACES = (
    *("status", "attempt", "attempts before", "limit", "last attempt", "messages", "dead letter", "unrecorded"),
    *("dead-letter messages", "holder", "claims", "outcomes", "dead letters", "records", "closed"),
)
_WORKER_PLACES = ("lease", "phase", "job", "held attempt", "dispatches")
PLACES = (
    *("join.status", "join.remaining", "workflow.status", "client", "operator"),
    *("join.fired", "workflows", "wrong"),
    *(f"{name}.{place}" for name in JOB_NAMES.values() for place in _JOB_PLACES),
    *(f"{name}.{place}" for name in WORKER_NAMES.values() for place in _WORKER_PLACES),
    *(f"budget.{name}" for name in BUDGETS),
)
_STATUSES = ("absent", *JobStatus)
_WORDS: dict[str, tuple[str, ...]] = {
    "status": _STATUSES,
    "dead letter": ("none", "open", "replayed", "resolved"),
    "lease": ("dead", "expired", "leased"),
    "phase": PHASES,
    "dispatches": ("none", "body"),
    "client": ("not started", "started, no reply", "committed", "dispatched"),
}


def canonical(state: bytearray) -> State:
    """Return the state with equal parts in order: which worker or which header is which makes no difference."""
    if state[HEADER_A : HEADER_A + HOLDER] > state[HEADER_B : HEADER_B + HOLDER]:
        state[HEADER_A:BODY] = state[HEADER_B:BODY] + state[HEADER_A:HEADER_B]
        for worker in WORKERS:
            if state[worker + PHASE] and state[worker + JOB] != BODY:
                state[worker + JOB] = HEADER_A + HEADER_B - state[worker + JOB]
    if state[FIRST:SECOND] > state[SECOND:_AFTER]:
        state[FIRST:_AFTER] = state[SECOND:_AFTER] + state[FIRST:SECOND]
        for job in JOBS:
            if state[job + HOLDER]:
                state[job + HOLDER] = FIRST + SECOND - state[job + HOLDER]
    return bytes(state)


def difference(before: State, after: State) -> str:
    """Return what changed between two states, in words."""
    changes = [
        f"{name} {_word(name, old)} -> {_word(name, new)}"
        for name, old, new in zip(PLACES, before, after, strict=True)
        if old != new
    ]
    return ", ".join(change for change in changes if not change.startswith("budget.")) or "nothing changes"


def _word(name: str, value: int) -> str:
    place = name.rpartition(".")[2]
    if place in ("holder", "job"):
        return (WORKER_NAMES | JOB_NAMES).get(value, "none")
    words = _WORDS.get(place)
    return words[value] if words else str(value)
