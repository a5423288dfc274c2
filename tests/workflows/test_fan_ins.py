"""A canvas's options for failures: the missing member, a fan-in's needs, and nonsense that is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from celery import Signature, group
from hypothesis import given
from hypothesis import strategies as st

from agentq import each, step
from agentq.canvas import needs
from agentq.canvas.graph import BEYOND, Graph
from agentq.exceptions import CanvasError, StepDefinitionError
from tests.support.fake_worker import graph_of
from tests.support.steps import add, echo, numbers, total

A, B = add.s(1, 1), add.s(2, 2)


def parts(graph: Graph) -> list[tuple[int | None, str]]:
    return [(node.part, str(node.on_failure)) for node in graph.nodes]


STOPS, GOES_ON = (None, "stop"), "continue"


@pytest.mark.parametrize(
    ("canvas", "expected"),
    [
        (group(A, B) | total.s(), [STOPS] * 4),
        (group(A, B) | total.s().set(needs="all"), [STOPS] * 4),
        (
            group(A | echo.s(), B) | total.s().set(needs=1),
            [(1, GOES_ON), (1, GOES_ON), (2, GOES_ON), STOPS, STOPS],
        ),
        (
            group(A.clone().set(on_failure="fail"), B.clone().set(on_failure="stop")) | total.s().set(needs=1),
            [(0, "fail"), (1, "stop"), STOPS, STOPS],
        ),
        (
            group(A.clone().set(on_failure=GOES_ON) | echo.s(), B) | total.s(),
            [(1, GOES_ON), (1, "stop"), (2, "stop"), STOPS, STOPS],
        ),
        (A.clone().set(on_failure=GOES_ON) | echo.s(), [STOPS, STOPS]),
        (A.clone().set(on_failure=GOES_ON) | echo.si(1), [(None, GOES_ON), STOPS]),
        (A.clone().set(on_failure=GOES_ON), [STOPS]),
    ],
    ids=["unsaid", "all", "needs one", "explicit wins", "by the step", "needed after", "not needed", "last"],
)
def test_a_job_knows_the_member_that_is_missing_if_it_fails(canvas: Signature, expected: list[Any]) -> None:
    assert parts(graph_of(canvas.clone())) == expected


def test_a_branch_of_an_each_is_one_of_its_branches() -> None:
    graph = graph_of(numbers.s(3) | each(echo.s() | echo.s()) | total.s().set(needs=0.5))
    template = graph.nodes[1].template
    assert template is not None
    assert parts(template) == [(1, GOES_ON), (1, GOES_ON)]
    assert graph.nodes[1].needs == "0.500000"


def test_an_inner_job_belongs_to_the_member_around_it() -> None:
    inner = numbers.s(3) | each(echo.s()) | total.s()
    graph = graph_of(group(inner, A) | total.s().set(needs="any"))
    template = graph.nodes[1].template
    assert template is not None
    assert parts(template) == [(BEYOND, GOES_ON)]
    assert parts(graph)[:3] == [(2, GOES_ON)] * 3


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (group(A, B) | total.s().set(needs="most"), "needs is 'most', must be 'all', 'any', a number"),
        (group(A, B) | total.s().set(needs=1.5), "needs is 1.5"),
        (group(A, B) | total.s().set(needs=-1), "needs is -1"),
        (group(A, B) | total.s().set(needs=True), "needs is True"),
        (group(A, B) | total.s().set(needs=3), r"needs is 3, but the group before it has 2 member"),
        (group() | total.s().set(needs=1), r"needs is 1, but the group before it has 0 member"),
        (A | each(group(echo.s(), echo.s()) | echo.s().set(needs=3)), "needs is 3, but the group before it has 2"),
        (group(A, B) | total.s().set(within=0), "within is 0, must be over 0 seconds"),
        (A | echo.s().set(needs=1), "are for a step that takes the results of a group"),
        (group(A, B) | total.si([]).set(needs=1), "are for a step that takes the results of a group"),
        (A.clone().set(on_failure="proceed"), "on_failure is 'proceed', must be one of: stop, continue, fail"),
        (A.clone().set(on_failure="contine"), "Did you mean 'continue'"),
        (
            group(A.clone().set(link=echo.s()), B) | total.s().set(needs=1),
            "cannot be used in a canvas with link=",
        ),
    ],
)
def test_nonsense_options_are_refused(canvas: Signature, message: str) -> None:
    with pytest.raises(CanvasError, match=message):
        graph_of(canvas)


def test_a_step_refuses_it_too() -> None:
    with pytest.raises(StepDefinitionError, match=r"on_failure is 'stopp', must be one of.*Did you mean 'stop'"):
        step(on_failure="stopp")(lambda: None)


@given(st.integers(1, 1000), st.data())
def test_a_share_is_never_rounded_down(members: int, data: st.DataObject) -> None:
    missing = data.draw(st.integers(1, members))
    share = data.draw(st.floats(0.001, 0.999))
    kept = needs.parse(share, "")
    there = members - missing
    assert needs.are_enough(kept, members, missing) is (there >= math.ceil(round(round(share, 6) * members, 6)))


def test_without_a_missing_member_every_need_is_met() -> None:
    assert all(needs.are_enough(kept, 2, 0) for kept in (None, "all", "any", "5", "0.900000"))
    assert not needs.are_enough(None, 2, 2)
