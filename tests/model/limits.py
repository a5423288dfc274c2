"""The protocol of one limit: every order of jobs that wait, take a slot, end, and give it back.

A transaction that looks at the line and writes to the limit later is two actions, since another one may commit
between them. ``enter`` and ``give_back`` are one each: they lock the limit before they look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import NamedTuple

from tests.model.search import search


class Status(IntEnum):
    """The status of a job."""

    ABSENT = auto()
    BLOCKED = auto()
    QUEUED = auto()
    RUNNING = auto()
    SCHEDULED = auto()
    DONE = auto()


class Work(IntEnum):
    """The work that follows a job's last commit."""

    NONE = auto()
    ENTER = auto()
    GIVE_BACK = auto()


class Seen(NamedTuple):
    """The state that a completion saw: the attempt, the jobs in the line, whether a slot may be handed over."""

    attempt: int
    line: tuple[int, ...]
    is_open: bool


class Job(NamedTuple):
    """A job, and what a completion of it under way has seen."""

    status: Status = Status.ABSENT
    held: bool = False
    work: Work = Work.NONE
    attempt: int = 0
    completing: Seen | None = None
    """The completion of an attempt that is under way."""
    is_probe: bool = False
    """Whether the attempt began after the end of the last cooldown."""
    is_carried: bool = False
    """Whether it held a slot when the last cooldown began, and no attempt that began before its end has ended."""
    hold: int = 0
    """The attempt that has taken a slot inside its step, beside that of the job; 0 for none."""


class Cooldown(NamedTuple):
    """The cooldown of the limit, since a provider refused a call."""

    cools: bool = False
    """Whether its end is to come."""
    ramp: int = 0
    """The jobs that are admitted beside the carried ones; 0 for as many as there are slots."""
    carried: int = 0
    """The jobs from before it that hold a slot still."""
    allowed: int = 0
    """The ramp as it should be."""


class State(NamedTuple):
    """The jobs, the row of the limit, and the admissions that are to come or under way."""

    jobs: tuple[Job, ...]
    used: int = 0
    awaited: bool = False
    awaits: int = 0
    admits: int = 0
    picked: int | None = None
    """The job that an admission has locked."""
    forgetting: int | None = None
    """The ``awaits`` that an admission read when it saw no job in the line."""
    crashes: int = 0
    losses: int = 0
    refusals: int = 0
    cooldown: Cooldown = Cooldown()
    early: bool = False
    """Whether a job was admitted while the limit cooled, or beside more than the ramp allows."""
    take_backs: int = 0
    calls: int = 0


HOLDERS = "as many slots are used as jobs and calls hold"
SLOTS = "no more jobs hold a slot than there are"
COOL = "no job is admitted while the limit cools, and after it few, until calls succeed"


@dataclass(frozen=True)
class Limit:
    """The engine, with *slots*, and with a caretaker or without.

    So often may it crash, a worker be lost, a call be refused, and a slot be taken back from a job that waits for
    a worker; so many calls inside steps take a slot of their own.
    """

    jobs: int = 3
    slots: int = 1
    crashes: int = 0
    losses: int = 0
    refusals: int = 0
    caretaker: bool = False
    take_backs: int = 0
    calls: int = 0

    def initial(self) -> State:
        budgets = {"crashes": self.crashes, "losses": self.losses, "refusals": self.refusals}
        return State((Job(),) * self.jobs, take_backs=self.take_backs, calls=self.calls, **budgets)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Give all that may happen next."""
        for number, job in enumerate(state.jobs):
            for name, new in self._of_job(state, number, job):
                yield f"{name} {number}", new
        if state.admits and state.picked is None and state.forgetting is None:
            yield "look at the line", self.look(state._replace(admits=state.admits - 1))
        if state.picked is not None:
            yield "admit", self.admit(state, state.picked)
        if state.forgetting is not None:
            yield "forget the line", self.forget(state)
        if self.caretaker and state.awaited and self.has_room(state) and not _admits(state):
            yield "fill", state._replace(admits=1)
        if state.cooldown.cools:
            yield "end of the cooldown", state._replace(cooldown=state.cooldown._replace(cools=False))

    def crash(self, state: State) -> Iterator[tuple[str, State]]:
        """Give the states after a process died before it did what follows its commit."""
        if not state.crashes:
            return
        state = state._replace(crashes=state.crashes - 1)
        for number, job in enumerate(state.jobs):
            if job.work is not Work.NONE:
                yield f"crash after the commit of {number}", _with(state, number, job._replace(work=Work.NONE))
        if _admits(state):
            yield "crash of an admission", state._replace(admits=0, picked=None, forgetting=None)

    def _of_job(self, state: State, number: int, job: Job) -> Iterator[tuple[str, State]]:
        match job.status:
            case Status.ABSENT:
                yield "start", _with(state, number, job._replace(status=Status.BLOCKED, work=Work.ENTER))
            case Status.QUEUED:
                is_probe = not state.cooldown.cools
                claimed = job._replace(status=Status.RUNNING, attempt=job.attempt + 1, is_probe=is_probe)
                yield "claim", _with(state, number, claimed)
                if state.take_backs and state.awaited:
                    yield "take back", self.take_back(state._replace(take_backs=state.take_backs - 1), number)
            case Status.RUNNING:
                if job.completing is None:
                    seen = Seen(job.attempt, _line(state), self.is_open(state))
                    yield "see", _with(state, number, job._replace(completing=seen))
                if state.refusals:
                    yield "refuse", self.refuse(state._replace(refusals=state.refusals - 1), number, job)
                if state.losses:
                    taken = job._replace(status=Status.SCHEDULED, work=Work.GIVE_BACK)
                    yield "rescue", _with(state._replace(losses=state.losses - 1), number, taken)
            case Status.SCHEDULED:
                yield "due", self.due(state, number, job)
        if state.calls and job.status is Status.RUNNING and not job.hold and self.has_room(state):
            yield "begin a call", self.begin_call(state._replace(calls=state.calls - 1), number, job)
        if job.hold and (self.runs(job, job.hold) or self.caretaker):
            yield "free the hold", self.free_hold(state, number, job)
        if job.completing is not None:
            yield "complete", self.complete(state, number, job)
        if job.work is Work.ENTER:
            yield "enter", self.enter(_with(state, number, job._replace(work=Work.NONE)))
        if job.work is Work.GIVE_BACK or (self.caretaker and self.is_spent(job)):
            yield "give back", self.give_back(_with(state, number, job._replace(work=Work.NONE)), number)
        if self.caretaker and job.status is Status.BLOCKED and job.work is Work.NONE and not state.awaited:
            yield "enter unawaited", _with(state, number, job._replace(work=Work.ENTER))

    def is_spent(self, job: Job) -> bool:
        return job.held and job.status in (Status.SCHEDULED, Status.DONE)

    def runs(self, job: Job, attempt: int) -> bool:
        """Say whether an attempt runs, which ends its call."""
        return job.status is Status.RUNNING and job.attempt == attempt

    def begin_call(self, state: State, number: int, job: Job) -> State:
        """Take a slot inside a step, as a hold of its attempt."""
        return _with(state._replace(used=state.used + 1), number, job._replace(hold=job.attempt))

    def free_hold(self, state: State, number: int, job: Job) -> State:
        """Delete the hold, which frees its slot; an admission follows where the line is awaited."""
        return self.after_free(_with(state._replace(used=state.used - 1), number, job._replace(hold=0)))

    def is_open(self, state: State) -> bool:
        """Say whether a completion may hand its slot over."""
        return not state.cooldown.cools and not state.cooldown.ramp

    def refuse(self, state: State, number: int, job: Job) -> State:
        """A provider refuses a call: its job gives its slot back and waits in the line, and the limit cools."""
        waits = job._replace(status=Status.BLOCKED, held=False, work=Work.ENTER, completing=None)
        state = _with(state, number, waits)._replace(used=state.used - 1)
        others = tuple(other._replace(is_probe=False, is_carried=other.held) for other in state.jobs)
        cooldown = self.ramp(Cooldown(cools=True, carried=state.used, allowed=1))
        return state._replace(jobs=others, cooldown=cooldown)

    def ramp(self, cooldown: Cooldown) -> Cooldown:
        """Begin the ramp."""
        return cooldown._replace(ramp=1)

    def end_call(self, state: State, job: Job, *, succeeded: bool) -> State:
        """Note on the limit that a job gives its slot back."""
        cooldown = state.cooldown
        if not cooldown.allowed or (job.is_probe and not succeeded):
            return state
        if not job.is_probe:
            return state._replace(cooldown=cooldown._replace(carried=max(0, cooldown.carried - 1)))
        ramp, allowed = 2 * cooldown.ramp, 2 * cooldown.allowed
        is_over = allowed + cooldown.carried >= self.slots
        return state._replace(cooldown=Cooldown() if is_over else cooldown._replace(ramp=ramp, allowed=allowed))

    def due(self, state: State, number: int, job: Job) -> State:
        if job.held:
            return _with(state, number, job._replace(status=Status.QUEUED, work=Work.NONE))
        return _with(state, number, job._replace(status=Status.BLOCKED, work=Work.ENTER))

    def enter(self, state: State) -> State:
        """Note that the line is awaited, and admit while there is room."""
        return self.admit_all(state._replace(awaited=True, awaits=state.awaits + 1))

    def give_back(self, state: State, number: int) -> State:
        job = state.jobs[number]
        if not self.is_spent(job):
            return state
        state = _with(state, number, job._replace(held=False, is_carried=_stays(job)))
        state = self.end_call(state._replace(used=state.used - 1), job, succeeded=False)
        return self.admit_all(state) if state.awaited else state

    def take_back(self, state: State, number: int) -> State:
        """Let a queued job stand in the line again without its slot; an admission follows the commit."""
        state = _with(state, number, state.jobs[number]._replace(status=Status.BLOCKED, held=self.kept()))
        return state._replace(used=state.used - 1, awaited=True, awaits=state.awaits + 1, admits=state.admits + 1)

    def kept(self) -> bool:
        """Say whether a job whose slot is taken back holds it still."""
        return False

    def complete(self, state: State, number: int, job: Job) -> State:
        """End the attempt; hand the slot to the first job that was seen and still waits, or free it."""
        assert job.completing is not None
        seen = job.completing
        state = _with(state, number, job._replace(completing=None))
        if not self.owns(job, seen.attempt):
            return state
        done = job._replace(status=Status.DONE, held=False, completing=None, is_carried=_stays(job))
        state = _with(state, number, done)
        waiting = [other for other in seen.line if other in _line(state)]
        if waiting and self.may_hand_over(seen):
            following = state.jobs[waiting[0]]._replace(is_carried=job.is_carried)  # a refusal may have come since
            state = self.hand_over(_with(state, waiting[0], following), waiting[0])
            return state._replace(early=state.early or not seen.is_open)
        return self.after_free(self.end_call(state._replace(used=state.used - 1), job, succeeded=True))

    def may_hand_over(self, seen: Seen) -> bool:
        return seen.is_open

    def owns(self, job: Job, attempt: int) -> bool:
        return job.status is Status.RUNNING and job.attempt == attempt

    def hand_over(self, state: State, number: int) -> State:
        return _with(state, number, state.jobs[number]._replace(status=Status.QUEUED, held=True))

    def after_free(self, state: State) -> State:
        """Have the next job admitted where the line is awaited."""
        return state._replace(admits=state.admits + state.awaited)

    def look(self, state: State) -> State:
        """Lock the first job in the line, if there is a slot; or begin to forget a line with no job."""
        line = _line(state)
        if not self.has_room(state):
            return state
        if line:
            return state._replace(picked=line[0])
        return state if _any_blocked(state) else state._replace(forgetting=state.awaits)

    def admit(self, state: State, number: int) -> State:
        state = state._replace(picked=None)
        if not self.has_room(state):
            return state
        return self.take(state, number)._replace(admits=state.admits + 1)

    def take(self, state: State, number: int) -> State:
        """Admit a job to a slot that is free."""
        cooldown, used = state.cooldown, state.used + 1
        carried = sum(job.is_carried for job in state.jobs)
        is_early = cooldown.cools or bool(cooldown.allowed and used > cooldown.allowed + carried)
        return self.hand_over(state, number)._replace(used=used, early=state.early or is_early)

    def has_room(self, state: State) -> bool:
        cooldown = state.cooldown
        ramp = cooldown.ramp + cooldown.carried if cooldown.ramp else self.slots
        return not cooldown.cools and state.used < min(ramp, self.slots)

    def admit_all(self, state: State) -> State:
        while self.has_room(state) and (line := _line(state)):
            state = self.take(state, line[0])
        if self.has_room(state) and not _any_blocked(state):
            return state._replace(awaited=False)
        return state

    def forget(self, state: State) -> State:
        awaited = state.awaited and state.forgetting != state.awaits
        return state._replace(awaited=awaited, forgetting=None)


def broken(state: State, slots: int) -> str | None:
    """Return the promise that a state breaks, if any."""
    holders = sum(job.held for job in state.jobs) + sum(job.hold > 0 for job in state.jobs)
    if state.used != holders:
        return HOLDERS
    if state.early:
        return COOL
    return SLOTS if holders > slots else None


def is_end(state: State) -> bool:
    """Say whether it is right that nothing more happens."""
    return all(job.status is Status.DONE and not job.held and not job.hold for job in state.jobs)


def explore(limit: Limit) -> tuple[int, str | None, list[str]]:
    """Visit all states; returns how many, the first promise that is broken, and the shortest way there."""
    return search(limit.initial(), limit.moves, lambda state: broken(state, limit.slots), is_end, limit.crash)


def _with(state: State, number: int, job: Job) -> State:
    return state._replace(jobs=(*state.jobs[:number], job, *state.jobs[number + 1 :]))


def _line(state: State) -> tuple[int, ...]:
    """Return the jobs in the line that no admission has locked."""
    numbered = enumerate(state.jobs)
    return tuple(number for number, job in numbered if job.status is Status.BLOCKED and number != state.picked)


def _stays(job: Job) -> bool:
    """Say whether a job counts as carried after its end: the limit takes it for one from after the cooldown."""
    return job.is_carried and job.is_probe


def _any_blocked(state: State) -> bool:
    return any(job.status is Status.BLOCKED for job in state.jobs)


def _admits(state: State) -> bool:
    return bool(state.admits) or state.picked is not None or state.forgetting is not None
