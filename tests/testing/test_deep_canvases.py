"""Canvases nested deeper than Python follows are refused as such, whatever they are made of."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord, group

import agentq
from agentq import each
from agentq.exceptions import CanvasError
from agentq.testing.inline import Inline
from tests.support.steps import add, echo, numbers, total

DEEP = 400


def groups(depth: int) -> Any:
    canvas = add.s(1, 2)
    for _ in range(depth):
        canvas = group(chain(canvas, echo.s()), echo.s(2))
    return canvas


def chords(depth: int) -> Any:
    """Written as the dicts that they are: Celery's own ``chord()`` does not make them so deep."""
    canvas: dict[str, Any] = dict(add.s(1, 2))
    for _ in range(depth):
        kwargs = {"header": [canvas, dict(add.s(1, 2))], "body": dict(total.s())}
        canvas = {**chord([add.s(1, 2)], total.s()), "kwargs": kwargs}
    return canvas


def eaches(depth: int) -> Any:
    canvas = numbers.s()
    for _ in range(depth):
        canvas = numbers.s() | each(canvas)
    return numbers.s(1) | each(canvas)


def links(depth: int) -> Any:
    canvas = echo.s()
    for _ in range(depth):
        canvas = echo.s().set(link=[canvas])
    return canvas


def endless(depth: int) -> Any:
    canvas = echo.s()
    return canvas.set(link=[canvas])


@pytest.mark.parametrize("made", [groups, chords, eaches, links])
def test_too_deep_nesting_is_refused_with_its_depth(agentq_inline: Inline, made: Any) -> None:
    with pytest.raises(CanvasError, match=r"the canvas is nested \d{3,} deep"):
        agentq.start(made(DEEP))


def test_a_canvas_that_contains_itself_is_refused(agentq_inline: Inline) -> None:
    with pytest.raises(CanvasError, match="the canvas holds itself"):
        agentq.start(endless(DEEP))


@pytest.mark.parametrize("made", [groups, chords, eaches, links])
def test_sixty_deep_runs(agentq_inline: Inline, made: Any) -> None:
    assert agentq.start(made(60)).result() != []


@pytest.mark.parametrize("made", [groups, eaches])
def test_celerys_own_start_of_it_is_refused_alike(agentq_inline: Inline, made: Any) -> None:
    with pytest.raises(CanvasError, match="deep"):
        made(DEEP).apply_async()
