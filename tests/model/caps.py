"""The protocol of a cap: every order of starts that begin or are postponed, of ends, and of let-ins.

A process does one thing at a time, each statement and each commit is an action, and the others see only what is
committed. A process that waits for the lock of a row has no action meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import NamedTuple

from tests.model.search import search


class Status(IntEnum):
    """The committed status of a workflow."""

    ABSENT = auto()
    POSTPONED = auto()
    OPEN = auto()
    DONE = auto()


class Doing(IntEnum):
    """The next action of a process."""

    NOTHING = auto()
    COMMIT_START = auto()
    COMMIT_END = auto()
    LOOK = auto()
    """It looks for room, after a commit."""
    PICK = auto()
    LOCK = auto()
    COMMIT_LET_IN = auto()


class Process(NamedTuple):
    """A process, and what its transaction has seen or written."""

    doing: Doing = Doing.NOTHING
    workflows: tuple[int, ...] = ()
    """Those that it starts, ends or lets in: it holds the locks of their rows, but before ``LOCK``."""
    is_postponed: bool = False
    """Whether the workflow that it starts is."""
    follows: bool = False
    """Whether it looks for room after its commit."""
    room: int = 0


class State(NamedTuple):
    """The workflows in the order of their starts, the processes, and the cap."""

    workflows: tuple[Status, ...]
    processes: tuple[Process, ...]
    cap: int
    raises: int = 0
    cancels: int = 0
    crashes: int = 0
    overtaken: bool = False
    """Whether a workflow began before an older one that was in the line by then."""


CAP = "no more workflows are open than the cap, but for starts at the same time"
ORDER = "no workflow begins while an older one stands in the line"


@dataclass(frozen=True)
class Cap:
    """The engine, with so many *workflows* of one tenant, a *cap*, and with a caretaker or without.

    With *slow_starts* and *slow_ends*, others may commit between the statement and the commit of one. So often may
    an operator raise the cap by one, a workflow be cancelled, and a process die.
    """

    workflows: int = 3
    clients: int = 2
    cap: int = 1
    slow_starts: bool = False
    slow_ends: bool = False
    caretaker: bool = False
    raises: int = 0
    cancels: int = 0
    crashes: int = 0

    def initial(self) -> State:
        workflows = (Status.ABSENT,) * self.workflows
        processes = (Process(),) * (self.clients + self.caretaker)
        return State(workflows, processes, self.cap, self.raises, self.cancels, self.crashes)

    def moves(self, state: State) -> Iterator[tuple[str, State]]:
        """Give all that may happen next."""
        for number, process in enumerate(state.processes):
            is_caretaker = number == self.clients
            match process.doing:
                case Doing.NOTHING if is_caretaker:
                    if room := self.room(state):
                        yield "caretaker finds room", _with(state, number, Process(Doing.PICK, room=room))
                case Doing.NOTHING:
                    yield from self._begin(state, number)
                case Doing.COMMIT_START:
                    yield f"commit of the start of {process.workflows}", self.commit_start(state, number, process)
                case Doing.COMMIT_END:
                    yield f"commit of the end of {process.workflows}", self.commit_end(state, number, process)
                case Doing.LOOK:
                    room = self.room(state)
                    found = Process(Doing.PICK, room=room) if room else Process()
                    yield f"look: room for {room}", _with(state, number, found)
                case Doing.PICK:
                    yield "pick", self.pick(state, number, process)
                case Doing.LOCK if not _locked(state, number) & {*process.workflows}:
                    yield f"lock {process.workflows}", _with(state, number, self.lock(state, process))
                case Doing.COMMIT_LET_IN:
                    yield f"let in {process.workflows}", self.commit_let_in(state, number, process)

    def crash(self, state: State) -> Iterator[tuple[str, State]]:
        """Give the states after a process died: what it has not committed is undone."""
        for number, process in enumerate(state.processes):
            if state.crashes and process.doing is not Doing.NOTHING:
                after = _with(state._replace(crashes=state.crashes - 1), number, Process())
                if process.doing is Doing.COMMIT_START:
                    after = _now(after, process.workflows, Status.DONE)  # nobody starts it again
                yield f"crash of {number} before {process.doing.name}", after

    def _begin(self, state: State, number: int) -> Iterator[tuple[str, State]]:
        started = {one for process in state.processes for one in process.workflows}
        absent = [one for one in _having(state, Status.ABSENT) if one not in started]
        if absent:
            yield f"start {absent[0]}", self.start(state, number, absent[0])
        locked = _locked(state, number)
        for one in _having(state, Status.OPEN):
            if one not in locked:
                yield f"end {one}", self.end(state, number, one)
        for one in _having(state, Status.POSTPONED):
            if state.cancels and one not in locked:
                yield f"cancel {one}", self.end(state._replace(cancels=state.cancels - 1), number, one)
        if state.raises:
            raised = state._replace(cap=state.cap + 1, raises=state.raises - 1)
            yield "raise the cap", _with(raised, number, self.after_raise())

    def start(self, state: State, number: int, workflow: int) -> State:
        """Write a workflow: open where there is room and no line, and else postponed."""
        may_begin = self.may_begin(state)
        overtaken = state.overtaken or (may_begin and bool(_having(state, Status.POSTPONED)))
        process = Process(Doing.COMMIT_START, (workflow,), is_postponed=not may_begin)
        process = process._replace(follows=not may_begin and self.follows_postponement(state, workflow))
        state = _with(state._replace(overtaken=overtaken), number, process)
        return state if self.slow_starts else self.commit_start(state, number, process)

    def commit_start(self, state: State, number: int, process: Process) -> State:
        status = Status.POSTPONED if process.is_postponed else Status.OPEN
        return _with(_now(state, process.workflows, status), number, _after(process.follows))

    def may_begin(self, state: State) -> bool:
        return not self.line(state) and self.count(state) < state.cap

    def follows_postponement(self, state: State, workflow: int) -> bool:
        """Say whether one that was postponed looks for room after its commit."""
        return True

    def end(self, state: State, number: int, workflow: int) -> State:
        """Write the end of a workflow, which looks whether there is a line."""
        process = Process(Doing.COMMIT_END, (workflow,), follows=self.follows_end(state))
        state = _with(state, number, process)
        return state if self.slow_ends else self.commit_end(state, number, process)

    def follows_end(self, state: State) -> bool:
        return bool(self.line(state))

    def commit_end(self, state: State, number: int, process: Process) -> State:
        return _with(_now(state, process.workflows, Status.DONE), number, _after(process.follows))

    def after_raise(self) -> Process:
        return _after(follows=True)

    def line(self, state: State) -> tuple[int, ...]:
        """Return the workflows that are postponed, the oldest first."""
        return _having(state, Status.POSTPONED)

    def count(self, state: State) -> int:
        """Count what is open."""
        return len(_having(state, Status.OPEN))

    def room(self, state: State) -> int:
        """Return how many may be let in; 0 where none waits."""
        return max(0, state.cap - self.count(state)) if self.line(state) else 0

    def pick(self, state: State, number: int, process: Process) -> State:
        """Read which come first, without a lock."""
        first = self.line(state)[: process.room]
        overtaken = state.overtaken or first != _having(state, Status.POSTPONED)[: process.room]
        picked = process._replace(doing=Doing.LOCK, workflows=first)
        return _with(state._replace(overtaken=overtaken), number, picked)

    def lock(self, state: State, process: Process) -> Process:
        """Lock what was picked and waits still, and count anew."""
        waiting = tuple(one for one in process.workflows if one in self.line(state))
        let_in = waiting[: self.room_behind_lock(state, process)]
        return process._replace(doing=Doing.COMMIT_LET_IN, workflows=let_in)

    def room_behind_lock(self, state: State, process: Process) -> int:
        return min(process.room, self.room(state))

    def commit_let_in(self, state: State, number: int, process: Process) -> State:
        return _with(_now(state, process.workflows, Status.OPEN), number, _after(follows=True))

    def most_open(self, state: State) -> int:
        """Return how many may be open: of starts at the same time, each may take the last place."""
        return state.cap + (self.clients - 1 if self.slow_starts else 0)


def broken(cap: Cap, state: State) -> str | None:
    """Return the promise that a state breaks, if any."""
    if state.overtaken:
        return ORDER
    return CAP if len(_having(state, Status.OPEN)) > cap.most_open(state) else None


def is_end(state: State) -> bool:
    """Say whether it is right that nothing more happens."""
    return {*state.workflows} == {Status.DONE}


def explore(cap: Cap) -> tuple[int, str | None, list[str]]:
    """Visit all states; returns how many, the first promise that is broken, and the shortest way there."""
    return search(cap.initial(), cap.moves, lambda state: broken(cap, state), is_end, cap.crash)


def _with(state: State, number: int, process: Process) -> State:
    return state._replace(processes=(*state.processes[:number], process, *state.processes[number + 1 :]))


def _now(state: State, workflows: tuple[int, ...], status: Status) -> State:
    """Commit a status of workflows."""
    numbered = enumerate(state.workflows)
    return state._replace(workflows=tuple(status if number in workflows else was for number, was in numbered))


def _having(state: State, status: Status) -> tuple[int, ...]:
    return tuple(number for number, one in enumerate(state.workflows) if one is status)


def _locked(state: State, number: int) -> set[int]:
    """Return the workflows that other processes than this one have locked."""
    others = (other for at, other in enumerate(state.processes) if at != number and other.doing is not Doing.LOCK)
    return {workflow for other in others for workflow in other.workflows}


def _after(follows: bool) -> Process:
    """Return a process after its commit."""
    return Process(Doing.LOOK) if follows else Process()
