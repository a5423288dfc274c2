"""A key names a start: the same steps and arguments are the same start, whatever options changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Signature, group, shared_task

from agentq import each, step
from agentq.canvas.fingerprint import difference, fingerprint
from agentq.canvas.graph import Graph
from agentq.steps import registry
from tests.support.fake_worker import graph_of
from tests.support.steps import add, echo, later, numbers, total


@pytest.fixture
def release() -> Iterator[Any]:
    """Deploys the step ``released`` with other options."""

    def deploy(**options: Any) -> Any:
        registry._steps.pop("released", None)
        return step(name="released", **options)(_released)

    yield deploy
    registry._steps.pop("released", None)


def _released(topic: Any, depth: int = 3, *, tags: dict[str, int] | None = None) -> str:
    return f"{topic} {depth} {tags}"


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "io"},
        {"priority": 9},
        {"timeout": 5, "hard_timeout": 9},
        {"deadline": 60},
        {"retries": 1},
        {"retry": "quick"},
        {"on_failure": "continue"},
    ],
    ids=str,
)
def test_a_deploy_that_changes_options_leaves_the_start_the_same(release: Any, options: dict[str, Any]) -> None:
    def canvas(one: Any) -> Signature:
        return numbers.s(2) | each(one.s(depth=4)) | group(one.s(), echo.s()) | total.s()

    before = fingerprint(graph_of(canvas(release())))
    assert fingerprint(graph_of(canvas(release(**options)))) == before


@pytest.mark.parametrize(
    "options",
    [{"queue": "io"}, {"priority": 1}, {"countdown": 5}, {"time_limit": 9}, {"needs": 1, "within": 5}],
    ids=str,
)
def test_options_of_the_call_change_the_fingerprint(options: dict[str, Any]) -> None:
    canvas = group(add.s(1, 1), add.s(2, 2)) | total.s()
    other = group(add.s(1, 1), add.s(2, 2)) | total.s().set(**options)
    assert fingerprint(graph_of(canvas)) == fingerprint(graph_of(other))


def test_a_call_is_the_same_however_it_is_written(release: Any) -> None:
    one = release()
    ways = [
        one.s("a"),
        one.s(topic="a"),
        one.s("a", 3),
        one.s("a", depth=3),
        one.s(tags=None, topic="a"),
        one.si("a"),
    ]
    assert len({fingerprint(graph_of(way)) for way in ways}) == 1
    tagged = [one.s("a", tags={"x": 1, "y": 2}), one.s("a", tags={"y": 2, "x": 1})]
    assert len({fingerprint(graph_of(way)) for way in tagged}) == 1


@shared_task(name="tests.weighed")  # type: ignore[untyped-decorator]
def weighed(topic: Any, depth: int = 3, *rest: int, tags: Any = None, **more: Any) -> Any: ...


def test_the_call_of_a_plain_task_is_compared_too() -> None:
    ways = [
        weighed.s("a"),
        weighed.s(topic="a"),
        weighed.s("a", 3),
        weighed.s("a", tags=None),
        weighed.s(depth=3, topic="a"),
    ]
    assert len({fingerprint(graph_of(way)) for way in ways}) == 1
    after = [numbers.s(1) | each(weighed.s(4, 5, x=1)), numbers.s(1) | each(weighed.s(4, 5, tags=None, x=1))]
    assert len({fingerprint(graph_of(way)) for way in after}) == 1
    kept = Graph.from_data(graph_of(weighed.s("a")).to_data())
    assert difference(kept, graph_of(weighed.s(topic="a", depth=3))) is None
    assert "argument 'depth' of step 'tests.weighed' is its default there and 4 here" in str(
        difference(kept, graph_of(weighed.s("a", 4)))
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (add.s(1, 2), add.s(1, 3), f"argument 'y' of step '{add.name}' is 2 there and 3 here"),
        (add.s(1, 2), add.s(1, 2) | echo.s(), f"it has nothing more where this start has step '{echo.name}'"),
        (add.s(1, 2) | echo.s(), add.s(1, 2) | later.s(), f"it has step '{echo.name}' where this start has"),
        (add.s(1, 2) | echo.s(), add.s(1, 2) | echo.si(), "in another order or grouped in another way"),
        (
            numbers.s(1) | each(add.s(1)) | total.s(),
            numbers.s(1) | each(add.s(2)) | total.s(),
            "in each(), argument 'y' of",
        ),
        (echo.s(token="one"), echo.s(token="two"), "is *** there and *** here"),
        (Signature("plain", (1,)), Signature("plain", (2,)), "the arguments of step 'plain' are [[1], {}] there"),
    ],
    ids=["argument", "longer", "step", "input", "each", "secret", "plain"],
)
def test_other_work_is_named_in_the_error(before: Signature, now: Signature, expected: str) -> None:
    one, other = graph_of(before), graph_of(now)
    assert fingerprint(one) != fingerprint(other)
    assert expected in (difference(one, other) or "")
    assert difference(one, one) is None
