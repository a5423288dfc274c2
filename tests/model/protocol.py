"""The engine's own actions: client, workers and caretakers, one transaction or message at a time.

The methods have the engine's names: the guards of ``claim`` and ``record`` are those of ``ledger.moves`` and
``ledger.attempts``, ``hand_over`` is ``ledger.handover``, what a caretaker does is ``ledger.caretaking``. Guards
are methods of their own so that a variant can break one.
"""

# ruff: noqa: F403, F405  (the places and codes of a state are this package's own words)
from __future__ import annotations

from collections.abc import Callable, Iterator

from agentq.states import JOB_FINAL, JOB_MOVES, JobStatus
from tests.model.state import *

Label = tuple[str, int]
"""An action, and its worker; 0 where it is none, or does not matter."""
Move = tuple[Label, bytearray]
"""An action and the state it leads to."""

ALLOWED = {
    CODE[old]: frozenset(CODE[new] for new in moves if old not in JOB_FINAL) for old, moves in JOB_MOVES.items()
}
"""The engine's own table of moves, without those out of a final status."""
REVIVALS = frozenset(CODE[new] for new in JOB_MOVES[JobStatus.FAILED] - {JobStatus.WAITING})
"""The statuses of a failed job after the replay or the resolution of its dead letter, and after nothing else."""
_READY_TO_CLAIM = frozenset({DELIVERED, CLAIMED_UNKNOWN})
_RETURNED = frozenset({RETURNED, RETURNED_UNKNOWN})
_RAISED = frozenset({RAISED, RAISED_UNKNOWN})
_UNFIT = frozenset({UNFIT, UNFIT_UNKNOWN})
READY_TO_RECORD = _RETURNED | _RAISED | _UNFIT


class Protocol:
    """The protocol as the engine has it, with a budget for each kind of fault.

    Args:
        attempts: how many attempts a job may have, and how many more a replay allows.
        budgets: how often each thing of ``state.BUDGETS`` may happen; those not named never do.
    """

    def __init__(self, attempts: int = 2, **budgets: int) -> None:
        self.attempts = attempts
        self.budgets = budgets
        self.made: set[tuple[int, int]] = set()
        """The changes of a status that were made at least once."""
        self._by_phase: dict[int, Callable[[State, int], Iterator[Move]]] = {
            FREE: self.deliver,
            DELIVERED: self.claim,
            CLAIMED_UNKNOWN: self.claim,
            CLAIMED: self.run,
            **dict.fromkeys(READY_TO_RECORD, self.record),
            PUBLISHING: self.publish,
            DROPPING: self.drop,
            DONE: self.acknowledge,
        }

    def initial(self) -> State:
        """Return the state before the start: two workers with a lease and nothing to do."""
        state = bytearray(SIZE)
        for worker in WORKERS:
            state[worker + LEASE] = LEASED
        for name, times in self.budgets.items():
            state[BUDGET[name]] = times
        return bytes(state)

    def moves(self, state: State) -> Iterator[Move]:
        """Yield all that the engine may do next."""
        if state[CLIENT] != DISPATCHED:
            yield from self.start(state)
        for worker in WORKERS:
            if state[worker + LEASE] != DEAD:
                yield from self._by_phase[state[worker + PHASE]](state, worker)
            if state[worker + LEASE] != LEASED:
                yield self.renew(state, worker)
        if state[FIRST + LEASE] == LEASED or state[SECOND + LEASE] == LEASED:
            for job in JOBS:
                yield from self.care(state, job)

    # The client.

    def start(self, state: State) -> Iterator[Move]:
        """Write the workflow in one transaction; dispatch after it."""
        new = bytearray(state)
        if state[CLIENT] == NOT_STARTED:
            self.write_workflow(new)
            new[CLIENT] = COMMITTED
            yield ("start", 0), new
        elif state[CLIENT] == STARTED_UNKNOWN:
            self.start_again(new)
            yield ("start again", 0), new
        else:
            for job in HEADERS:
                new[job + MESSAGES] += 1
            new[CLIENT] = DISPATCHED
            yield ("dispatch", 0), new

    def write_workflow(self, new: bytearray) -> None:
        new[STARTED] += 1
        new[WORKFLOW] = RUNNING
        new[JOIN], new[REMAINING] = WAITING, len(HEADERS)
        for job in JOBS:
            new[job + STATUS] = WAITING if job == BODY else QUEUED
            new[job + LIMIT] = self.attempts

    def start_again(self, new: bytearray) -> None:
        """Find the workflow that the same key started: nothing is written, and caretakers publish."""
        new[CLIENT] = DISPATCHED

    # A worker and the message in its hands.

    def deliver(self, state: State, worker: int) -> Iterator[Move]:
        """Take a message, with a lease that is trusted."""
        if state[worker + LEASE] != LEASED:
            return
        for job in JOBS:
            if state[job + MESSAGES]:
                new = bytearray(state)
                new[job + MESSAGES] -= 1
                new[worker + PHASE], new[worker + JOB] = DELIVERED, job
                yield ("deliver", worker), new

    def claim(self, state: State, worker: int) -> Iterator[Move]:
        """Queued to running, counting the attempt; also find the own claim whose commit got no answer."""
        new, job = bytearray(state), state[worker + JOB]
        if self.may_claim(state, job):
            self.take(new, worker, job)
            new[worker + PHASE] = CLAIMED
        elif self.is_own_claim(state, worker, job):
            new[worker + PHASE] = CLAIMED
        else:
            new[worker + PHASE] = DROPPING
        if new[worker + PHASE] == CLAIMED:
            new[worker + HELD] = new[job + ATTEMPT]
        yield ("claim", worker), new

    def may_claim(self, state: State | bytearray, job: int) -> bool:
        is_queued = state[job + STATUS] == QUEUED and state[job + ATTEMPT] < state[job + LIMIT]
        return is_queued and not state[job + LAST]

    def is_own_claim(self, state: State, worker: int, job: int) -> bool:
        # A worker has one process here, so the job's holder identifies a claim as its token does.
        return (
            state[worker + PHASE] == CLAIMED_UNKNOWN
            and state[job + STATUS] == RUNNING
            and state[job + HOLDER] == worker
        )

    def take(self, new: bytearray, worker: int, job: int) -> None:
        self.move(new, job, RUNNING)
        self.count_attempt(new, job)
        new[job + HOLDER] = worker
        new[job + CLAIMS] += 1

    def count_attempt(self, new: bytearray, job: int) -> None:
        new[job + ATTEMPT] += 1

    def run(self, state: State, worker: int) -> Iterator[Move]:
        """Run the step: its effect is there, its outcome is not in the ledger."""
        new = bytearray(state)
        new[worker + PHASE] = RETURNED
        yield ("run effect", worker), new

    def record(self, state: State, worker: int) -> Iterator[Move]:
        """Record the outcome and hand over, in one transaction, or find that this worker lost the job."""
        new, phase, job = bytearray(state), state[worker + PHASE], state[worker + JOB]
        if self.write_outcome(new, worker, job):
            new[worker + PHASE] = PUBLISHING if new[worker + DISPATCHES] else DONE
            text = "record"
        elif phase in (RETURNED_UNKNOWN, RAISED_UNKNOWN, UNFIT_UNKNOWN):  # the own row is in the history
            new[worker + DISPATCHES] = self.undispatched(state, job)
            new[worker + PHASE] = PUBLISHING if new[worker + DISPATCHES] else DONE
            text = "record again"
        else:
            new[worker + PHASE] = DONE
            text = "discard"
        new[worker + HELD] = 0
        yield (text, worker), new

    def may_record(self, state: State | bytearray, worker: int, job: int) -> bool:
        return state[job + STATUS] == RUNNING and state[job + ATTEMPT] == state[worker + HELD]

    def write_outcome(self, new: bytearray, worker: int, job: int) -> bool:
        """Write what the attempt ended in if this worker still holds the job."""
        if not self.may_record(new, worker, job):
            return False
        if new[job + ATTEMPT] != new[worker + HELD] or new[job + HOLDER] != worker:
            new[WRONG] = BROKEN_FENCE
        new[job + HOLDER] = 0
        if new[worker + PHASE] in _RETURNED:
            self.move(new, job, SUCCEEDED)
            new[job + OUTCOMES] += 1
            if self.hand_over(new, job):
                new[worker + DISPATCHES] = PUBLISH_BODY
        elif new[worker + PHASE] in _UNFIT:
            self.leave(new, job)
        elif self.has_attempts(new, job):
            self.move(new, job, SCHEDULED)
        else:
            self.fail(new, job)
        return True

    def leave(self, new: bytearray, job: int) -> None:
        """Leave the job, without cost, for a worker whose code can run it."""
        self.move(new, job, SCHEDULED)
        new[job + LIMIT] += 1

    def has_attempts(self, state: State | bytearray, job: int) -> bool:
        return state[job + ATTEMPT] < state[job + LIMIT]

    def hand_over(self, new: bytearray, job: int) -> bool:
        """Count the job down in the join; zero makes the body ready. The body ends it all."""
        if job == BODY:
            if new[WORKFLOW] == RUNNING:
                new[WORKFLOW] = SUCCEEDED
            return False
        if new[JOIN] != WAITING:
            return False
        new[REMAINING] -= 1
        return self.fire(new) if self.is_complete(new) else False

    def is_complete(self, state: bytearray) -> bool:
        return state[REMAINING] == 0

    def fire(self, new: bytearray) -> bool:
        new[FIRED] += 1
        self.move(new, JOIN, SUCCEEDED)
        if new[BODY + STATUS] != WAITING:
            return False
        self.move(new, BODY, QUEUED)
        return True

    def fail(self, new: bytearray, job: int) -> None:
        """Fail the job for good, open its dead letter, and fail the workflow."""
        self.move(new, job, FAILED)
        new[job + HOLDER] = 0
        new[job + OUTCOMES] += 1
        self.open_letter(new, job)
        if new[WORKFLOW] == RUNNING:
            new[WORKFLOW] = FAILED

    def open_letter(self, new: bytearray, job: int) -> None:
        new[job + LETTER] = OPEN
        new[job + LETTERS] += 1
        new[job + UNRECORDED] += 1

    def undispatched(self, state: State, job: int) -> int:
        """Return the messages of the successors that became ready when *job* was done and were not claimed."""
        is_undispatched = job != BODY and state[job + STATUS] == SUCCEEDED and state[BODY + STATUS] == QUEUED
        return PUBLISH_BODY if is_undispatched else NO_DISPATCHES

    def publish(self, state: State, worker: int) -> Iterator[Move]:
        """Dispatch what became ready."""
        new = bytearray(state)
        new[BODY + MESSAGES] += 1
        new[worker + DISPATCHES], new[worker + PHASE] = NO_DISPATCHES, DONE
        yield ("publish", worker), new

    def drop(self, state: State, worker: int) -> Iterator[Move]:
        """Drop a message whose job is not to be run, and publish jobs that a dead worker left undispatched."""
        new, job = bytearray(state), state[worker + JOB]
        if self.undispatched(state, job):
            new[BODY + MESSAGES] += 1
        new[worker + PHASE] = DONE
        yield ("drop", worker), new

    def acknowledge(self, state: State, worker: int) -> Iterator[Move]:
        new = bytearray(state)
        new[worker + PHASE] = new[worker + JOB] = new[worker + HELD] = new[worker + DISPATCHES] = 0
        yield ("acknowledge", worker), new

    def renew(self, state: State, worker: int) -> Move:
        """Renew a lease that was over, or start a worker again where one died."""
        new = bytearray(state)
        new[worker + LEASE] = LEASED
        return ("renew" if state[worker + LEASE] == EXPIRED else "restart", worker), new

    # A caretaker: any worker with a lease.

    def care(self, state: State, job: int) -> Iterator[Move]:
        """Yield what a caretaker may do about one job."""
        status = state[job + STATUS]
        if status == SCHEDULED:
            yield from self.due(state, job)
        elif status == QUEUED:
            yield from self.redispatch(state, job)
        elif status == RUNNING:
            yield from self.rescue(state, job)
        if state[job + LAST] and status in (SCHEDULED, QUEUED):
            yield from self.expire(state, job)
        if state[job + UNRECORDED] and not state[job + LETTER_MESSAGES]:
            yield from self.issue_letter(state, job)
        if state[job + LETTER_MESSAGES]:
            yield from self.record_letter(state, job)

    def due(self, state: State, job: int) -> Iterator[Move]:
        new = bytearray(state)
        self.move(new, job, QUEUED)
        new[job + MESSAGES] += 1
        yield ("due", 0), new

    def expire(self, state: State, job: int) -> Iterator[Move]:
        """Cancel the workflow of a job that is not to be tried again; a failed one waits for a replay."""
        if state[WORKFLOW] == RUNNING:
            new = bytearray(state)
            self.cancel_workflow(new)
            yield ("expire", 0), new

    def cancel_workflow(self, new: bytearray) -> None:
        """End the workflow with all its open jobs."""
        new[WORKFLOW] = CANCELLED
        for job in (*JOBS, JOIN):
            if new[job] in OPEN_STATUSES and self.may_cancel(new, job):
                self.move(new, job, CANCELLED)
                if job != JOIN:
                    new[job + HOLDER] = 0

    def may_cancel(self, state: State | bytearray, job: int) -> bool:
        return True

    def redispatch(self, state: State, job: int) -> Iterator[Move]:
        """Send a message again: the broker has none, and a caretaker does not hold it in its own hands."""
        if state[job + LAST]:
            return
        if not state[job + MESSAGES] and any(
            state[worker + LEASE] == LEASED and not (state[worker + PHASE] and state[worker + JOB] == job)
            for worker in WORKERS
        ):
            new = bytearray(state)
            new[job + MESSAGES] += 1
            yield ("redispatch", 0), new

    def rescue(self, state: State, job: int) -> Iterator[Move]:
        """Take a job from a worker whose lease is over, or that lives and does not run it."""
        if self.is_lost(state, job):
            new = bytearray(state)
            self.take_away(new, job)
            yield ("rescue lost", 0), new
        elif self.is_abandoned(state, job):
            new = bytearray(state)
            self.take_away(new, job)
            yield ("rescue abandoned", 0), new

    def is_lost(self, state: State, job: int) -> bool:
        holder = state[job + HOLDER]
        return not holder or state[holder + LEASE] != LEASED

    def is_abandoned(self, state: State, job: int) -> bool:
        holder = state[job + HOLDER]
        return not (state[holder + PHASE] and state[holder + JOB] == job)

    def take_away(self, new: bytearray, job: int) -> None:
        """Running to queued after the first attempt, to scheduled after others, to failed after the last."""
        new[job + HOLDER] = 0
        if not self.has_attempts(new, job):
            self.fail(new, job)
        elif new[job + ATTEMPT] - new[job + BEFORE] > 1:
            self.move(new, job, SCHEDULED)
        else:
            self.move(new, job, QUEUED)
            new[job + MESSAGES] += 1

    def issue_letter(self, state: State, job: int) -> Iterator[Move]:
        """Dispatch the task that records the dead letter; again where it was lost."""
        new = bytearray(state)
        new[job + LETTER_MESSAGES] += 1
        yield ("issue dead letter", 0), new

    def record_letter(self, state: State, job: int) -> Iterator[Move]:
        """Record the dead letter, once, however many messages ask for it."""
        new = bytearray(state)
        new[job + LETTER_MESSAGES] -= 1
        if self.may_record_letter(state, job):
            new[job + UNRECORDED] = max(0, state[job + UNRECORDED] - 1)
            new[job + RECORDS] += 1
        yield ("record dead letter", 0), new

    def may_record_letter(self, state: State, job: int) -> bool:
        return state[job + UNRECORDED] > 0

    # The one place where a job's status changes.

    def move(self, new: bytearray, job: int, status: int) -> None:
        """Change a status; what the engine's table does not allow breaks a promise."""
        if status not in ALLOWED[new[job]]:
            new[WRONG] = BROKEN_MOVE
        self.made.add((new[job], status))
        new[job] = status
