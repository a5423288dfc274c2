"""The protocol of a rate holds its promises in every order; the model finds a part of it that is left out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.model.rates import COUNTED, EARLY, UNPAID, Job, Rate, State, Status, _with, explore
from tests.model.search import DEAD_END


@pytest.mark.parametrize(
    ("rate", "least"),
    [
        (Rate(jobs=2), 1_000),
        (Rate(jobs=2, burst=2), 1_000),
        (Rate(jobs=3, duplicates=0, cancels=0), 1_000),
        (Rate(jobs=1, retries=2, losses=2, duplicates=2), 200),
    ],
    ids=str,
)
def test_no_order_breaks_a_promise(rate: Rate, least: int) -> None:
    states, promise, way = explore(rate)
    assert promise is None, way
    assert states > least


class PaysAgain(Rate):
    """A claim whose reply was lost pays once more."""

    def claim_again(self, state: State, number: int, job: Job) -> State:
        state = state._replace(left=max(0, state.left - 1))
        return _with(state, number, job._replace(paid=job.paid + 1))


class StartsAnyway(Rate):
    """A claim does not look whether a start is left."""

    def may_start(self, state: State) -> bool:
        return True


class ForgetsTheRefused(Rate):
    """A refused claim leaves its job counted as outstanding."""

    def claim(self, state: State, number: int, job: Job, *, lost: bool) -> State:
        if job.status is Status.QUEUED and not self.may_start(state):
            return _with(state, number, job._replace(status=Status.BLOCKED, is_outstanding=False))
        return super().claim(state, number, job, lost=lost)


@dataclass(frozen=True)
class ForgetsTheCancelled(Rate):
    """Nobody takes a cancelled job from the limit."""

    def cancel(self, state: State, number: int, job: Job) -> State:
        return _with(state, number, job._replace(status=Status.DONE))


@pytest.mark.parametrize(
    ("rate", "promise"),
    [
        (PaysAgain(), UNPAID),
        (StartsAnyway(), EARLY),
        (ForgetsTheRefused(), COUNTED),
        (ForgetsTheCancelled(), DEAD_END),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_model_finds_what_is_left_out(rate: Rate, promise: str) -> None:
    assert explore(rate)[1] == promise
