"""The protocol of a limit holds its promises in every order; the model finds a part of it that is left out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.model.limits import (
    COOL,
    HOLDERS,
    SLOTS,
    Cooldown,
    Job,
    Limit,
    Seen,
    State,
    Status,
    Work,
    _with,
    explore,
)
from tests.model.search import DEAD_END


@pytest.mark.parametrize(
    ("limit", "least"),
    [
        (Limit(jobs=3), 1_000),
        (Limit(jobs=3, slots=2), 1_000),
        (Limit(jobs=3, losses=1), 5_000),
        (Limit(jobs=3, losses=1, crashes=1, caretaker=True), 10_000),
        (Limit(jobs=2, losses=2, crashes=3, caretaker=True), 1_000),
        (Limit(jobs=3, refusals=1, caretaker=True), 1_000),
        (Limit(jobs=2, slots=2, refusals=1, losses=1, caretaker=True), 1_000),
        (Limit(jobs=3, take_backs=2), 1_000),
        (Limit(jobs=2, take_backs=2, losses=1, crashes=1, caretaker=True), 1_000),
        (Limit(jobs=2, slots=2, calls=2, losses=1, crashes=1, caretaker=True), 1_000),
    ],
    ids=str,
)
def test_no_order_breaks_a_promise(limit: Limit, least: int) -> None:
    states, promise, way = explore(limit)
    assert promise is None, way
    assert states > least


class ForgetsTheLine(Limit):
    """A completion does not read whether jobs wait."""

    def after_free(self, state: State) -> State:
        return state


class ForgetsBlindly(Limit):
    """A line is forgotten by an admission that saw no job in it, whatever came since."""

    def forget(self, state: State) -> State:
        return state._replace(awaited=False, forgetting=None)


class BlocksHolders(Limit):
    """A job whose time has come is blocked, also where it holds its slot still."""

    def due(self, state: State, number: int, job: Job) -> State:
        return _with(state, number, job._replace(status=Status.BLOCKED, work=Work.ENTER))


class FencelessCompletion(Limit):
    """A worker that lost its job gives the slot back."""

    def owns(self, job: Job, attempt: int) -> bool:
        return True


class GivesBackWhatIsUsed(Limit):
    """Slots are given back by any job that holds one."""

    def is_spent(self, job: Job) -> bool:
        return job.held and job.status is not Status.RUNNING


class AdmitsUnseen(Limit):
    """An admission does not look again whether there is room once it has locked the limit."""

    def has_room(self, state: State) -> bool:
        return True


class FreesAndHandsOver(Limit):
    """A slot that is handed over is freed too."""

    def hand_over(self, state: State, number: int) -> State:
        return super().hand_over(state, number)._replace(used=state.used - 1)


class HandsOverWhileCooling(Limit):
    """A completion does not read whether the limit is open."""

    def may_hand_over(self, seen: Seen) -> bool:
        return True


class AdmitsWhileCooling(Limit):
    """An admission reads the ramp, but not whether the limit cools."""

    def has_room(self, state: State) -> bool:
        return super().has_room(state._replace(cooldown=state.cooldown._replace(cools=False)))


class OpensAtOnce(Limit):
    """A cooldown has no ramp after it."""

    def ramp(self, cooldown: Cooldown) -> Cooldown:
        return cooldown


class OldCallsOpen(Limit):
    """A success doubles the ramp, whenever its call began."""

    def end_call(self, state: State, job: Job, *, succeeded: bool) -> State:
        wrong = super().end_call(state, job._replace(is_probe=True), succeeded=succeeded)
        right = super().end_call(state, job, succeeded=succeeded)
        return right._replace(cooldown=right.cooldown._replace(ramp=wrong.cooldown.ramp))


class ForgetsCarried(Limit):
    """The end of a call from before the cooldown leaves room for another call."""

    def end_call(self, state: State, job: Job, *, succeeded: bool) -> State:
        return super().end_call(state, job, succeeded=succeeded) if job.is_probe else state


class TakesBackForShow(Limit):
    """A job whose slot is taken back holds it still."""

    def kept(self) -> bool:
        return True


class LosesTheHold(Limit):
    """The end of a call deletes its hold, and leaves the slot counted."""

    def free_hold(self, state: State, number: int, job: Job) -> State:
        return super().free_hold(state, number, job)._replace(used=state.used)


class CallsUncounted(Limit):
    """A call takes its hold without counting a slot."""

    def begin_call(self, state: State, number: int, job: Job) -> State:
        return super().begin_call(state, number, job)._replace(used=state.used)


@dataclass(frozen=True)
class Fault:
    limit: Limit
    promise: str


FAULTS = [
    Fault(ForgetsTheLine(), DEAD_END),
    Fault(ForgetsBlindly(), DEAD_END),
    Fault(BlocksHolders(slots=2, losses=1), HOLDERS),
    Fault(FencelessCompletion(losses=1), HOLDERS),
    Fault(GivesBackWhatIsUsed(losses=1, caretaker=True), HOLDERS),
    Fault(AdmitsUnseen(), SLOTS),
    Fault(FreesAndHandsOver(), HOLDERS),
    Fault(HandsOverWhileCooling(slots=2, refusals=1, caretaker=True), COOL),
    Fault(AdmitsWhileCooling(refusals=1, caretaker=True), COOL),
    Fault(OpensAtOnce(jobs=4, slots=3, refusals=1, caretaker=True), COOL),
    Fault(OldCallsOpen(jobs=4, slots=4, refusals=1, caretaker=True), COOL),
    Fault(ForgetsCarried(jobs=4, slots=3, refusals=1, caretaker=True), COOL),
    Fault(TakesBackForShow(jobs=2, take_backs=1), HOLDERS),
    Fault(LosesTheHold(jobs=2, slots=2, calls=1), HOLDERS),
    Fault(CallsUncounted(jobs=2, slots=2, calls=1), HOLDERS),
    Fault(Limit(jobs=1, slots=2, calls=1), DEAD_END),  # nobody frees what an attempt has left
    Fault(Limit(crashes=1), DEAD_END),  # without a caretaker
    Fault(Limit(refusals=1), DEAD_END),
]


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault.limit).__name__)
def test_a_part_that_is_left_out_breaks_a_promise(fault: Fault) -> None:
    _, promise, way = explore(fault.limit)
    assert promise == fault.promise, way
