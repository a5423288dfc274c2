"""The protocol of a rate: every order of admissions, claims that pay or are refused, lost replies and cancels.

A claim is one action: it locks the limit before it looks. A start that is left stands for time that has passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import NamedTuple

from tests.model.search import search


class Status(IntEnum):
    """The status of a job."""

    BLOCKED = auto()
    QUEUED = auto()
    RUNNING = auto()
    DONE = auto()


class Job(NamedTuple):
    """A job, its messages that are under way, and what its limit has noted of it."""

    status: Status = Status.BLOCKED
    is_outstanding: bool = False
    messages: int = 0
    attempt: int = 0
    paid: int = 0
    """How many starts it has paid."""
    unanswered: bool = False
    """Whether the worker that claimed it got no reply, and asks again with its token."""
    is_spent: bool = False
    """Whether it ended while it was outstanding, and has yet to be taken from the limit."""


class State(NamedTuple):
    """The jobs and the row of the limit."""

    jobs: tuple[Job, ...]
    left: int = 0
    """The starts that are left now."""
    outstanding: int = 0
    retries: int = 0
    losses: int = 0
    duplicates: int = 0
    cancels: int = 0


UNPAID = "no attempt starts unpaid, and none pays twice"
COUNTED = "as many starts are outstanding as jobs have a message and have not paid"
EARLY = "no start is paid that is not left"


@dataclass(frozen=True)
class Rate:
    """The engine, with so many jobs; so often is an attempt tried again, a reply lost, a message sent twice."""

    jobs: int = 2
    burst: int = 1
    retries: int = 1
    losses: int = 1
    duplicates: int = 1
    cancels: int = 1

    def initial(self) -> State:
        return State((Job(),) * self.jobs, 0, 0, self.retries, self.losses, self.duplicates, self.cancels)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Give all that may happen next."""
        if state.left < self.burst:
            yield "time passes", state._replace(left=state.left + 1)
        for number, job in enumerate(state.jobs):
            for name, new in self._of_job(state, number, job):
                yield f"{name} {number}", new

    def _of_job(self, state: State, number: int, job: Job) -> Iterator[tuple[str, State]]:
        if job.status is Status.BLOCKED and state.left > state.outstanding:
            yield "admit", self.admit(state, number, job)
        if job.messages:
            yield "claim", self.claim(state, number, job._replace(messages=job.messages - 1), lost=False)
            if state.losses:
                fewer = state._replace(losses=state.losses - 1)
                yield "claim, lost", self.claim(fewer, number, job._replace(messages=job.messages - 1), lost=True)
            if state.duplicates:
                twice = job._replace(messages=job.messages + 1)
                yield "send again", _with(state._replace(duplicates=state.duplicates - 1), number, twice)
        if job.unanswered:
            yield "claim again", self.claim_again(state, number, job._replace(unanswered=False))
        if job.status is Status.RUNNING and not job.unanswered:
            yield "complete", _with(state, number, job._replace(status=Status.DONE))
            if state.retries:
                again = job._replace(status=Status.QUEUED, messages=job.messages + 1)
                yield "try again", _with(state._replace(retries=state.retries - 1), number, again)
        if job.status in (Status.BLOCKED, Status.QUEUED) and state.cancels:
            yield "cancel", self.cancel(state._replace(cancels=state.cancels - 1), number, job)
        if job.is_spent:
            yield "give back", self.give_back(state, number, job)

    def admit(self, state: State, number: int, job: Job) -> State:
        admitted = job._replace(status=Status.QUEUED, is_outstanding=True, messages=job.messages + 1)
        return _with(state._replace(outstanding=state.outstanding + 1), number, admitted)

    def claim(self, state: State, number: int, job: Job, *, lost: bool) -> State:
        """Pay for the start, or stand in the line again."""
        if job.status is not Status.QUEUED:
            return _with(state, number, job)
        state = state._replace(outstanding=state.outstanding - job.is_outstanding)
        if not self.may_start(state):
            refused = job._replace(status=Status.BLOCKED, is_outstanding=False)
            return _with(state, number, refused)
        taken = job._replace(status=Status.RUNNING, is_outstanding=False, attempt=job.attempt + 1, unanswered=lost)
        return _with(state._replace(left=state.left - 1), number, taken._replace(paid=job.paid + 1))

    def may_start(self, state: State) -> bool:
        return state.left > 0

    def claim_again(self, state: State, number: int, job: Job) -> State:
        return _with(state, number, job)

    def cancel(self, state: State, number: int, job: Job) -> State:
        return _with(state, number, job._replace(status=Status.DONE, is_spent=job.is_outstanding))

    def give_back(self, state: State, number: int, job: Job) -> State:
        state = state._replace(outstanding=state.outstanding - 1)
        return _with(state, number, job._replace(is_outstanding=False, is_spent=False))


def broken(state: State) -> str | None:
    """Return the promise that a state breaks, if any."""
    if state.left < 0:
        return EARLY
    if state.outstanding != sum(job.is_outstanding for job in state.jobs):
        return COUNTED
    return UNPAID if any(job.paid != job.attempt for job in state.jobs) else None


def is_end(state: State) -> bool:
    """Say whether it is right that nothing more happens."""
    return all(job.status is Status.DONE and not job.is_outstanding for job in state.jobs)


def explore(rate: Rate) -> tuple[int, str | None, list[str]]:
    """Visit all states; returns how many, the first promise that is broken, and the shortest way there."""
    return search(rate.initial(), rate.moves, broken, is_end)


def _with(state: State, number: int, job: Job) -> State:
    return state._replace(jobs=(*state.jobs[:number], job, *state.jobs[number + 1 :]))
