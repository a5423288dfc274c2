"""``each(canvas)``: one branch per item of the list that the step before returned, then fan in."""

from __future__ import annotations

from typing import Any

from celery import Signature

from agentq.exceptions import CanvasError
from agentq.redaction import show

NAME = "agentq.each"


def each(canvas: Any) -> Signature:
    """Return a signature that runs *canvas* once for every item of the list from the step before.

    The item is the first argument of the canvas's first step. Its result is the list of the branches'
    results, in the order of the items; an empty list gives an empty list. It composes with ``|`` as any
    signature does::

        find.s("docs") | each(read.s() | summarise.s()) | combine.s()

    Raises CanvasError where *canvas* is not a canvas.
    """
    if not isinstance(canvas, dict):
        raise CanvasError(f"each() takes a canvas such as step.s(), not {show(canvas)}")
    return Signature(NAME, kwargs={"canvas": canvas})
