"""Celery's own ``apply_async`` of a canvas that holds steps."""

from __future__ import annotations

from typing import Any

from celery.app import app_or_default
from celery.canvas import _basemap, _chain, _chord, chunks, group

from agentq.canvas.nesting import levels
from agentq.canvas.options import INSTEAD
from agentq.exceptions import CanvasError
from agentq.runtime.find import engine_of
from agentq.runtime.start.starts import start
from agentq.steps import registry

_ON_STEPS = "set it on its steps, or use agentq.start(canvas, …)"


def adopt_native_canvases() -> None:
    """Let canvases that hold steps start workflows from their own ``apply_async``; maps and chunks are refused.

    Without it they would be half durable: Celery's messages would carry the rest of the canvas. Canvases of
    plain tasks only stay Celery's.
    """
    for kind in (_chain, group, _chord, _basemap, chunks):
        if not hasattr(kind.apply_async, "agentq"):
            kind.apply_async = _starting(kind.apply_async)


def _starting(native: Any) -> Any:
    def apply_async(self: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
        if not (_holds_steps(self) or _holds_steps((kwargs or {}).get("body"))):
            return native(self, args, {} if kwargs is None else kwargs, **options)
        given = sorted(name for name, value in options.items() if value is not None and name != "app")
        if given:
            first = "pass not_before= to agentq.start(canvas, …), or set it on its first steps"
            hint = first if given[0] in ("countdown", "eta") else INSTEAD.get(given[0], _ON_STEPS)
            raise CanvasError(f"apply_async({given[0]}=…) of a canvas that holds steps is not supported; {hint}")
        app = options.get("app") or self._app or app_or_default()
        canvas, kwargs = self, dict(kwargs or {})
        if isinstance(self, _chord) and kwargs.get("body"):  # chord(header)(body)
            canvas = self.clone()
            canvas.kwargs["body"] = kwargs.pop("body")
        return start(engine_of(app), canvas, args=tuple(args or ()), kwargs=kwargs)

    apply_async.agentq = True  # type: ignore[attr-defined]
    return apply_async


def _holds_steps(canvas: Any) -> bool:
    return any(_is_step(part) for level in levels(canvas) for part in level)


def _is_step(part: dict[str, Any]) -> bool:
    return part.get("task") == "agentq.each" or registry.find(str(part.get("task"))) is not None
