"""Faults, errors of a step, and an operator's commands, each from a budget."""

# ruff: noqa: F403, F405  (the places and codes of a state are this package's own words)
from __future__ import annotations

from collections.abc import Iterator

from tests.model.protocol import READY_TO_RECORD, REVIVALS, Move, Protocol
from tests.model.state import *

_UNKNOWN = {RETURNED: RETURNED_UNKNOWN, RAISED: RAISED_UNKNOWN, UNFIT: UNFIT_UNKNOWN}


class Troubled(Protocol):
    """The protocol together with all that its budgets let happen to it."""

    def faults(self, state: State) -> Iterator[Move]:
        """Yield all that may happen to the engine next."""
        for name in self.budgets:
            place = BUDGET[name]
            if state[place]:
                for label, new in getattr(self, name)(state):
                    new[place] -= 1
                    yield label, new

    def crashes(self, state: State) -> Iterator[Move]:
        """A worker dies, and the broker delivers its message again; or the client dies before its dispatch."""
        if state[CLIENT] in (COMMITTED, STARTED_UNKNOWN):
            new = bytearray(state)
            new[CLIENT] = DISPATCHED
            yield ("client crashes", 0), new
        for worker in WORKERS:
            if state[worker + LEASE] != DEAD:
                new = bytearray(state)
                _end(new, worker)
                for job in JOBS:
                    if new[job + HOLDER] == worker:
                        new[job + HOLDER] = 0
                yield ("worker crashes", worker), new

    def kills(self, state: State) -> Iterator[Move]:
        """The process that runs a step is killed, and Celery acknowledges its message."""
        for worker in WORKERS:
            if state[worker + PHASE] not in (FREE, DONE):
                new = bytearray(state)
                _empty_hands(new, worker)
                yield ("process is killed", worker), new

    def stops(self, state: State) -> Iterator[Move]:
        """A worker is stopped: it gives its jobs back without cost and signs off."""
        for worker in WORKERS:
            if state[worker + LEASE] != DEAD:
                new = bytearray(state)
                _end(new, worker)
                for job in JOBS:
                    if new[job + HOLDER] == worker:
                        self.release(new, job)
                yield ("worker is stopped", worker), new

    def release(self, new: bytearray, job: int) -> None:
        self.move(new, job, QUEUED)
        new[job + HOLDER] = 0
        new[job + LIMIT] += 1
        new[job + MESSAGES] += 1

    def expiries(self, state: State) -> Iterator[Move]:
        """A worker is frozen, or cut off from the ledger, past its lease; its step may go on."""
        for worker in WORKERS:
            if state[worker + LEASE] == LEASED:
                new = bytearray(state)
                new[worker + LEASE] = EXPIRED
                yield ("lease expires", worker), new

    def errors(self, state: State) -> Iterator[Move]:
        """A step raises."""
        yield from self._instead_of_a_result(state, RAISED, "step raises")

    def leaves(self, state: State) -> Iterator[Move]:
        """A worker's code cannot run the job, such as that of another release."""
        yield from self._instead_of_a_result(state, UNFIT, "code does not fit")

    def _instead_of_a_result(self, state: State, phase: int, text: str) -> Iterator[Move]:
        for worker in WORKERS:
            if state[worker + PHASE] == CLAIMED and state[worker + LEASE] != DEAD:
                new = bytearray(state)
                new[worker + PHASE] = phase
                yield (text, worker), new

    def deadlines(self, state: State) -> Iterator[Move]:
        """A job's time is over: a caretaker fails it, whatever it does."""
        for job in JOBS:
            if state[job + ATTEMPT] and state[job + STATUS] in (SCHEDULED, QUEUED, RUNNING):
                new = bytearray(state)
                self.fail(new, job)
                yield ("deadline passes", 0), new

    def duplicates(self, state: State) -> Iterator[Move]:
        """The broker delivers a message once more, also one that a worker has in its hands."""
        in_workers = [state[worker + JOB] for worker in WORKERS if state[worker + PHASE]]
        for job in JOBS:
            if state[job + MESSAGES] or job in in_workers:
                yield _changed(state, "message is doubled", job + MESSAGES, 1)
            if state[job + LETTER_MESSAGES]:
                yield _changed(state, "dead letter's message is doubled", job + LETTER_MESSAGES, 1)

    def losses(self, state: State) -> Iterator[Move]:
        """The broker loses a message."""
        for job in JOBS:
            if state[job + MESSAGES]:
                yield _changed(state, "message is lost", job + MESSAGES, -1)
            if state[job + LETTER_MESSAGES]:
                yield _changed(state, "dead letter's message is lost", job + LETTER_MESSAGES, -1)

    def flushes(self, state: State) -> Iterator[Move]:
        """The broker is emptied."""
        new = bytearray(state)
        for job in JOBS:
            new[job + MESSAGES] = new[job + LETTER_MESSAGES] = 0
        if new != state:
            yield ("broker is flushed", 0), new

    def unknown_commits(self, state: State) -> Iterator[Move]:
        """A transaction is committed and its reply is lost. One that was not committed changes nothing."""
        if state[CLIENT] == NOT_STARTED:
            new = bytearray(state)
            self.write_workflow(new)
            new[CLIENT] = STARTED_UNKNOWN
            yield ("start, no reply", 0), new
        for worker in WORKERS:
            if state[worker + LEASE] != DEAD:
                yield from self._unknown_write(state, worker)

    def _unknown_write(self, state: State, worker: int) -> Iterator[Move]:
        new, job, phase = bytearray(state), state[worker + JOB], state[worker + PHASE]
        if phase in (DELIVERED, CLAIMED_UNKNOWN) and self.may_claim(state, job):
            self.take(new, worker, job)
            new[worker + PHASE] = CLAIMED_UNKNOWN
            yield ("claim, no reply", worker), new
        elif phase in READY_TO_RECORD and self.write_outcome(new, worker, job):
            new[worker + PHASE] = _UNKNOWN.get(phase, phase)
            new[worker + DISPATCHES] = NO_DISPATCHES
            yield ("record, no reply", worker), new

    def cancels(self, state: State) -> Iterator[Move]:
        """An operator cancels the workflow and all its open jobs, in one transaction."""
        if state[WORKFLOW] == RUNNING:
            new = bytearray(state)
            self.cancel_workflow(new)
            yield ("cancel", 0), new

    def revokes(self, state: State) -> Iterator[Move]:
        """A person revokes a job that runs: its attempt may end, and is the last one."""
        for job in JOBS:
            if state[job + STATUS] == RUNNING and not state[job + LAST]:
                new = bytearray(state)
                new[job + LAST] = new[job + ATTEMPT]
                yield ("revoke", 0), new

    def replays(self, state: State) -> Iterator[Move]:
        """An operator replays a dead letter: its job is scheduled with a fresh allowance of attempts."""
        for job in JOBS:
            if self.may_close(state, job):
                new = bytearray(state)
                self.close_letter(new, job, REPLAYED)
                self.revive(new, job, SCHEDULED)
                new[job + BEFORE] = new[job + ATTEMPT]
                new[job + LIMIT] = new[job + ATTEMPT] + self.attempts
                self.reopen(new)
                yield ("replay", 0), new

    def resolves(self, state: State) -> Iterator[Move]:
        """An operator gives a dead job its result by hand, and the workflow goes on with it."""
        for job in JOBS:
            if self.may_close(state, job):
                new = bytearray(state)
                self.close_letter(new, job, RESOLVED)
                self.revive(new, job, SUCCEEDED)
                new[job + OUTCOMES] = 1
                self.reopen(new)
                if self.hand_over(new, job):
                    new[BODY + MESSAGES] += 1
                yield ("resolve", 0), new

    def may_close(self, state: State, job: int) -> bool:
        return state[job + LETTER] == OPEN

    def close_letter(self, new: bytearray, job: int, status: int) -> None:
        new[job + LETTER] = status
        new[job + CLOSES] += 1

    def revive(self, new: bytearray, job: int, status: int) -> None:
        """Out of failed, and out of nothing else; what comes then is a new series of attempts."""
        if new[job + STATUS] != FAILED or status not in REVIVALS:
            new[WRONG] = BROKEN_MOVE
        self.made.add((new[job + STATUS], status))
        new[job + STATUS] = status
        new[job + HOLDER] = new[job + OUTCOMES] = new[job + LAST] = 0

    def reopen(self, new: bytearray) -> None:
        """A workflow runs again when none of its jobs is failed any more."""
        if new[WORKFLOW] == FAILED and all(new[job + STATUS] != FAILED for job in JOBS):
            new[WORKFLOW] = RUNNING


def _end(new: bytearray, worker: int) -> None:
    if new[worker + PHASE]:
        new[new[worker + JOB] + MESSAGES] += 1
        _empty_hands(new, worker)
    new[worker + LEASE] = DEAD


def _empty_hands(new: bytearray, worker: int) -> None:
    new[worker + PHASE] = new[worker + JOB] = new[worker + HELD] = new[worker + DISPATCHES] = 0


def _changed(state: State, text: str, place: int, by: int) -> Move:
    new = bytearray(state)
    new[place] += by
    return (text, 0), new
