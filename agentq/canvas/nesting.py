"""The nesting of a canvas, followed without recursion: Python follows only so much of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentq.exceptions import CanvasError

_DEEPEST = 200
"""Levels; each takes up to five of Python's thousand calls, and the caller of the start has some too."""
_ENDLESS = 10_000
"""Levels beyond which no check goes: a canvas that contains itself has no end."""
_MAPS = frozenset({"celery.map", "celery.starmap", "celery.chunks"})


def levels(canvas: Any) -> Iterator[list[Any]]:
    """Yield the signatures of a canvas level by level: itself, its members, their members."""
    level = [canvas]
    for _ in range(_ENDLESS):
        level = [part for part in level if isinstance(part, dict)]
        if not level:
            return
        yield level
        level = list({id(inner): inner for part in level for inner in _inside(part)}.values())


def require_followable(canvas: Any) -> None:
    """Raise CanvasError for a canvas that is nested deeper than Python follows."""
    depth = sum(1 for _ in levels(canvas))
    if depth > _DEEPEST:
        found = "holds itself" if depth == _ENDLESS else f"is nested {depth} deep, which is more than {_DEEPEST}"
        raise CanvasError(
            f"the canvas {found}; write what comes one after the other as one chain, a | b | c, or start the "
            "inner canvas from a step"
        )


def _inside(part: dict[str, Any]) -> list[Any]:
    kwargs, options = part.get("kwargs") or {}, part.get("options") or {}
    inner = [kwargs.get("body"), kwargs.get("canvas"), kwargs.get("task") if part.get("task") in _MAPS else None]
    for many in (kwargs.get("tasks"), kwargs.get("header"), options.get("link")):
        inner += list(many) if isinstance(many, (list, tuple)) else [many]
    return inner
