"""One signature of a canvas: its primitive, and the reason for which it cannot be started."""

from __future__ import annotations

from typing import Any

from celery import Signature
from celery.canvas import maybe_signature

from agentq.canvas import each, sleep
from agentq.canvas.options import INSTEAD, NO_MEANING, first_refused
from agentq.exceptions import CanvasError
from agentq.redaction import show
from agentq.steps.definition import StepDefinition

_PRIMITIVES = {"celery.chain": "chain", "celery.group": "group", "celery.chord": "chord"}
_OWN = {each.NAME: "each", sleep.NAME: "sleep"}
_UNSUPPORTED = {
    "celery.map": "each(task.s()), or a step with a loop",
    "celery.starmap": "each(task.s()), or a step with a loop",
    "celery.chunks": "a step that makes a list of lists, then each(task.s())",
}


def signature_of(value: Any, where: str) -> Signature:
    """Return the signature that a value is; raises CanvasError for any other value."""
    if isinstance(value, StepDefinition):
        raise CanvasError(f"{where} is the step {value.name!r} itself; write {value.function.__name__}.s(…)")
    if not isinstance(value, dict) or "task" not in value:
        raise CanvasError(f"{where} is {show(value)}, which is no canvas; write step.s(…) or combine those")
    try:
        return maybe_signature(value)
    except Exception as error:
        raise CanvasError(f"{where} cannot be read as a canvas: {error}") from None


def primitive_of(part: Signature) -> str | None:
    """Return ``chain``, ``group`` or ``chord``; None for a task."""
    kind = part.subtask_type or _PRIMITIVES.get(part.task)
    return kind if kind in _PRIMITIVES.values() else None


def require_supported(part: Signature) -> None:
    """Raise CanvasError for a primitive that cannot be started, or not with these arguments and options."""
    if part.task in _UNSUPPORTED:
        raise CanvasError(f"{part.task} cannot be started; use {_UNSUPPORTED[part.task]}")
    kind = _OWN.get(part.task) or primitive_of(part)
    if kind is None:
        return
    if part.args:
        raise CanvasError(f"{kind}() with arguments of its own cannot be started; give them to its first steps")
    allowed = NO_MEANING | {"link"} if kind in ("chain", "chord") else NO_MEANING
    unknown = set(part.options or {}) - allowed
    if unknown:
        name = first_refused(unknown)
        hint = INSTEAD.get(name, "set it on the steps inside it")
        raise CanvasError(f"the option {name!r} on {kind}() is not supported; {hint}")
