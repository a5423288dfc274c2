"""The protocol with one part broken, each as a person might build it, with the least that brings it down."""

# ruff: noqa: F403, F405  (the places and codes of a state are this package's own words)
from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tests.model import promises
from tests.model.faults import Troubled
from tests.model.protocol import Move
from tests.model.state import *


class Variant(Troubled):
    """A broken protocol, with its own budget."""

    most_attempts: ClassVar[int] = 2
    budget: ClassVar[dict[str, int]] = {}
    breaks: ClassVar[str]
    """The promise that the shortest counterexample breaks."""

    def __init__(self) -> None:
        super().__init__(self.most_attempts, **self.budget)


class NoFence(Variant):
    """Any worker that finds the job running may write, also an older attempt."""

    budget = {"expiries": 1}
    breaks = promises.FENCE

    def may_record(self, state: State | bytearray, worker: int, job: int) -> bool:
        return state[job + STATUS] == RUNNING


class NoGuard(Variant):
    """A worker writes its outcome without asking whether it still holds the job."""

    budget = {"expiries": 1}
    breaks = promises.MOVE

    def may_record(self, state: State | bytearray, worker: int, job: int) -> bool:
        return True


class NoGuardOfTheClaim(Variant):
    """A message is enough to claim a job, also one that runs."""

    breaks = promises.MOVE

    def may_claim(self, state: State | bytearray, job: int) -> bool:
        return state[job + STATUS] in (QUEUED, RUNNING) and self.has_attempts(state, job)


class FanInByCounting(Variant):
    """Each header marks itself done and counts the others that are not, which it sees as they were committed."""

    breaks = promises.NO_DEAD_END

    def __init__(self) -> None:
        super().__init__()
        self._by_phase |= {COUNTED_NONE: self.commit, COUNTED_ONE: self.commit}

    def record(self, state: State, worker: int) -> Iterator[Move]:
        job = state[worker + JOB]
        if job == BODY:
            yield from super().record(state, worker)
        else:
            other = HEADER_A + HEADER_B - job
            new = bytearray(state)
            new[worker + PHASE] = COUNTED_NONE if state[other + STATUS] == SUCCEEDED else COUNTED_ONE
            yield ("count the others", worker), new

    def commit(self, state: State, worker: int) -> Iterator[Move]:
        counted = bytearray(state)
        counted[REMAINING] = 1 + (state[worker + PHASE] == COUNTED_ONE)
        counted[worker + PHASE] = RETURNED
        yield from super().record(bytes(counted), worker)


class FanInByMessages(Variant):
    """Each message of a header that is done counts the join down, also a copy."""

    breaks = promises.INPUTS

    def drop(self, state: State, worker: int) -> Iterator[Move]:
        for label, new in super().drop(state, worker):
            if state[state[worker + JOB]] == SUCCEEDED:
                self.hand_over(new, state[worker + JOB])
            yield label, new


class FanInAfterTheCommit(Variant):
    """Each header looks whether all are done after it has committed; the last two both see so."""

    breaks = promises.FAN_IN

    def hand_over(self, new: bytearray, job: int) -> bool:
        return super().hand_over(new, job) if job == BODY else True

    def publish(self, state: State, worker: int) -> Iterator[Move]:
        for label, new in super().publish(state, worker):
            if all(state[header + STATUS] == SUCCEEDED for header in HEADERS):
                new[FIRED] += 1
                new[JOIN] = SUCCEEDED
                new[BODY + STATUS] = max(QUEUED, new[BODY + STATUS])
            else:
                new[BODY + MESSAGES] -= 1
            yield label, new


class HandOverApart(Variant):
    """The outcome is committed first, and the join counted down in a transaction of its own."""

    budget = {"crashes": 1}
    breaks = promises.NO_DEAD_END

    def hand_over(self, new: bytearray, job: int) -> bool:
        return super().hand_over(new, job) if job == BODY else True

    def publish(self, state: State, worker: int) -> Iterator[Move]:
        for label, new in super().publish(state, worker):
            if not super().hand_over(new, state[worker + JOB]):
                new[BODY + MESSAGES] -= 1
            yield label, new


class EndApart(Variant):
    """The outcome of the last job is committed first, and the workflow ended in a transaction of its own."""

    breaks = promises.SUCCESS

    def hand_over(self, new: bytearray, job: int) -> bool:
        return job != BODY and super().hand_over(new, job)


class NoSweeper(Variant):
    """No process sends a message again."""

    budget = {"losses": 1}
    breaks = promises.NO_DEAD_END

    def redispatch(self, state: State, job: int) -> Iterator[Move]:
        yield from ()


class NoRescueOfDeadWorkers(Variant):
    """No process looks for jobs whose worker is gone."""

    budget = {"crashes": 1}
    breaks = promises.NO_DEAD_END

    def is_lost(self, state: State, job: int) -> bool:
        return bool(state[job + HOLDER]) and super().is_lost(state, job)

    def is_abandoned(self, state: State, job: int) -> bool:
        return bool(state[job + HOLDER]) and super().is_abandoned(state, job)


class NoRescueOfKilledProcesses(Variant):
    """A worker that lives is trusted to run what the ledger says it runs."""

    budget = {"kills": 1}
    breaks = promises.NO_DEAD_END

    def is_abandoned(self, state: State, job: int) -> bool:
        return False


class RescueByTimer(Variant):
    """A job that runs for long is taken from its worker, whether that lives or not."""

    most_attempts = 1
    breaks = promises.CAUSE

    def is_lost(self, state: State, job: int) -> bool:
        return True


class RescueGivesTheAttemptBack(Variant):
    """An attempt that was lost does not count, and the next one has its number."""

    budget = {"expiries": 1}
    breaks = promises.ONE_HOLDER

    def take_away(self, new: bytearray, job: int) -> None:
        super().take_away(new, job)
        new[job + ATTEMPT] -= 1


class RescueOpensNoLetter(Variant):
    """Only a worker that fails a job opens its dead letter, not the caretaker that gives a lost one up."""

    most_attempts = 1
    budget = {"crashes": 1}
    breaks = promises.ONE_LETTER

    def take_away(self, new: bytearray, job: int) -> None:
        super().take_away(new, job)
        new[job + LETTER], new[job + LETTERS], new[job + UNRECORDED] = NO_LETTER, 0, 0


class AttemptsCountedAtTheEnd(Variant):
    """An attempt is counted when its outcome is recorded, not when it is claimed."""

    most_attempts = 1
    budget = {"crashes": 1}
    breaks = promises.ATTEMPTS

    def count_attempt(self, new: bytearray, job: int) -> None:
        pass

    def write_outcome(self, new: bytearray, worker: int, job: int) -> bool:
        written = super().write_outcome(new, worker, job)
        new[job + ATTEMPT] += written
        return written


class RetriesForgetTheLimit(Variant):
    """A step that raised is scheduled again, also after its last attempt."""

    most_attempts = 1
    budget = {"errors": 1}
    breaks = promises.NO_LOOP

    def has_attempts(self, state: State | bytearray, job: int) -> bool:
        return True


class ReleaseCosts(Variant):
    """A job that a stopping worker gives back has used up its attempt."""

    most_attempts = 1
    budget = {"stops": 1}
    breaks = promises.NO_LOOP

    def release(self, new: bytearray, job: int) -> None:
        super().release(new, job)
        new[job + LIMIT] -= 1


class LeaveCosts(Variant):
    """A job that is left for a worker whose code fits has used up its attempt."""

    most_attempts = 1
    budget = {"leaves": 1}
    breaks = promises.NO_LOOP

    def leave(self, new: bytearray, job: int) -> None:
        super().leave(new, job)
        new[job + LIMIT] -= 1


class RevokeIsForgotten(Variant):
    """A claim does not ask whether a person revoked the job while it ran."""

    budget = {"errors": 1, "revokes": 1}
    breaks = promises.LAST_ATTEMPT

    def may_claim(self, state: State | bytearray, job: int) -> bool:
        return state[job + STATUS] == QUEUED and self.has_attempts(state, job)


class NobodyEndsWhatWasRevoked(Variant):
    """A job that was revoked while it ran is not claimed, and no process cancels it."""

    budget = {"errors": 1, "revokes": 1}
    breaks = promises.NO_DEAD_END

    def expire(self, state: State, job: int) -> Iterator[Move]:
        yield from ()


class NoTimers(Variant):
    """No process dispatches due jobs."""

    budget = {"errors": 1}
    breaks = promises.NO_DEAD_END

    def due(self, state: State, job: int) -> Iterator[Move]:
        yield from ()


class UnknownIsFailure(Variant):
    """A commit without a reply is taken for a failed one, and the outcome is written again without looking."""

    budget = {"unknown_commits": 1}
    breaks = promises.OUTCOME

    def may_record(self, state: State | bytearray, worker: int, job: int) -> bool:
        return state[worker + PHASE] == RETURNED_UNKNOWN or super().may_record(state, worker, job)


class UnknownClaimIsLost(Variant):
    """A claim without a reply is not found again: the job looks as if another process ran it."""

    most_attempts = 1
    budget = {"unknown_commits": 1}
    breaks = promises.CAUSE

    def is_own_claim(self, state: State, worker: int, job: int) -> bool:
        return False


class StartWithoutKey(Variant):
    """A start without a reply is started again, as another workflow."""

    budget = {"unknown_commits": 1}
    breaks = promises.ONE_START

    def start_again(self, new: bytearray) -> None:
        self.write_workflow(new)
        new[CLIENT] = COMMITTED


class CancelLeavesRunning(Variant):
    """A cancel lets what runs end by itself."""

    budget = {"cancels": 1}
    breaks = promises.CANCEL

    def may_cancel(self, state: State | bytearray, job: int) -> bool:
        return state[job] != RUNNING


class LetterIssuedOnce(Variant):
    """The worker that fails a job dispatches its dead letter, and no process does so again."""

    most_attempts = 1
    budget = {"errors": 1, "losses": 1}
    breaks = promises.NO_DEAD_END

    def open_letter(self, new: bytearray, job: int) -> None:
        super().open_letter(new, job)
        new[job + LETTER_MESSAGES] += 1

    def issue_letter(self, state: State, job: int) -> Iterator[Move]:
        yield from ()


class LetterRecordedByEachMessage(Variant):
    """Each message writes a record of the dead letter."""

    most_attempts = 1
    budget = {"errors": 1, "duplicates": 1}
    breaks = promises.ONE_RECORD

    def may_record_letter(self, state: State, job: int) -> bool:
        return True


class ReplayWithoutGuard(Variant):
    """A person who saw the dead letter open replays it, also after another did."""

    most_attempts = 1
    budget = {"errors": 1, "replays": 2}
    breaks = promises.ONE_CLOSE

    def may_close(self, state: State, job: int) -> bool:
        return bool(state[job + LETTER])


class ReplayReopensAlways(Variant):
    """A replay lets the workflow run again although another of its jobs is failed."""

    most_attempts = 1
    budget = {"errors": 2, "replays": 1}
    breaks = promises.AGREEMENT

    def reopen(self, new: bytearray) -> None:
        new[WORKFLOW] = RUNNING


class ReplayLooksFirst(Variant):
    """A replay looks whether another job is failed before it locks the workflow; one fails in between."""

    most_attempts = 1
    budget = {"errors": 2, "replays": 2}
    breaks = promises.AGREEMENT

    def replays(self, state: State) -> Iterator[Move]:
        if not state[OPERATOR] and [state[job + STATUS] for job in JOBS].count(FAILED) == 1:
            new = bytearray(state)
            new[OPERATOR] = True
            yield ("replay looks at the other jobs", 0), new
        else:
            yield from super().replays(state)

    def reopen(self, new: bytearray) -> None:
        if new[OPERATOR]:
            new[WORKFLOW], new[OPERATOR] = RUNNING, False
        else:
            super().reopen(new)


VARIANTS = tuple(Variant.__subclasses__())
