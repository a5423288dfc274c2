"""The protocol of a cap holds its promises in every order; the model finds a part of it that is left out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.model.caps import CAP, ORDER, Cap, Process, State, Status, _having, explore
from tests.model.search import DEAD_END


@pytest.mark.parametrize(
    ("cap", "least"),
    [
        (Cap(), 100),
        (Cap(cap=0, raises=2, cancels=1), 1_000),
        (Cap(clients=3, slow_starts=True), 1_000),
        (Cap(slow_ends=True, caretaker=True), 1_000),
        (Cap(workflows=4, cap=2, slow_starts=True, slow_ends=True, caretaker=True), 10_000),
        (Cap(slow_starts=True, slow_ends=True, caretaker=True, cancels=1, crashes=1), 10_000),
        (Cap(cap=0, raises=1, slow_starts=True, caretaker=True, crashes=1), 10_000),
    ],
    ids=str,
)
def test_no_order_breaks_a_promise(cap: Cap, least: int) -> None:
    states, promise, way = explore(cap)
    assert promise is None, way
    assert states > least


@dataclass(frozen=True)
class LooksBeforeItsCommit(Cap):
    """A start that is postponed looks for room in its own transaction, and not after it."""

    def follows_postponement(self, state: State, workflow: int) -> bool:
        return self.count(state) < state.cap


@dataclass(frozen=True)
class Overtakes(Cap):
    """A start asks whether there is room, but not whether others wait for it."""

    def may_begin(self, state: State) -> bool:
        return self.count(state) < state.cap


@dataclass(frozen=True)
class LetsTheNewestIn(Cap):
    """The line begins with the workflow that was started last."""

    def line(self, state: State) -> tuple[int, ...]:
        return super().line(state)[::-1]


@dataclass(frozen=True)
class CountsBeforeTheLock(Cap):
    """A let-in believes the room that it saw before it had the lock."""

    def room_behind_lock(self, state: State, process: Process) -> int:
        return process.room


@dataclass(frozen=True)
class CountsWhatIsPostponed(Cap):
    """What waits for room counts as open."""

    def count(self, state: State) -> int:
        return super().count(state) + len(_having(state, Status.POSTPONED))


@dataclass(frozen=True)
class EndsAlone(Cap):
    """An end does not look whether others wait."""

    def follows_end(self, state: State) -> bool:
        return False


@dataclass(frozen=True)
class RaisesAlone(Cap):
    """A cap that is raised lets nothing in."""

    def after_raise(self) -> Process:
        return Process()


@pytest.mark.parametrize(
    ("cap", "promise"),
    [
        (LooksBeforeItsCommit(slow_starts=True), DEAD_END),
        (Overtakes(), ORDER),
        (LetsTheNewestIn(), ORDER),
        (CountsBeforeTheLock(), CAP),
        (CountsWhatIsPostponed(), DEAD_END),
        (EndsAlone(), DEAD_END),
        (RaisesAlone(cap=0, raises=1), DEAD_END),
        (Cap(slow_ends=True), DEAD_END),  # an end that saw no line leaves its room to a caretaker
        (Cap(crashes=1), DEAD_END),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_model_finds_what_is_left_out(cap: Cap, promise: str) -> None:
    _, found, way = explore(cap)
    assert found == promise, way
