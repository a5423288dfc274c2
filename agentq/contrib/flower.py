"""Flower: a job's page also tells its workflow and its tenant.

In ``flowerconfig.py``: ``from agentq.contrib.flower import format_task``.
"""

from __future__ import annotations

import ast
from typing import Any


def format_task(task: Any) -> Any:
    """Return *task*, Flower's own copy of it, with the rows ``workflow`` and ``tenant`` where it is a job."""
    summary = _summary(task.kwargs)
    if summary is not None:
        task.workflow, task.tenant = summary["workflow"], summary["tenant"]
        task._fields = (*task._fields, "workflow", "tenant")
    return task


def _summary(kwargs: Any) -> dict[str, str] | None:
    """Read what a bell's message says instead of its arguments; None for any other message."""
    try:
        found = ast.literal_eval(kwargs)
    except (ValueError, SyntaxError, TypeError):
        return None
    return found if isinstance(found, dict) and found.keys() == {"workflow", "tenant"} else None
