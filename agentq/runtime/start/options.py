"""The options of a start, declared once for ``start``, ``start_many`` and their asynchronous forms."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from agentq.exceptions import nearest
from agentq.steps.options import RetryOption


class StartOptions(TypedDict, total=False):
    """The options of a start; the docstring of ``AgentQ.start`` says what each one is."""

    tenant: str | None
    priority: int | None
    not_before: datetime | None
    deadline: float | None
    retry: RetryOption
    on_full: Literal["refuse", "postpone"] | None


def require_known(options: StartOptions, *beside: str) -> None:
    """Raise TypeError for an option that does not exist; *beside* are the other keywords of the call."""
    unknown = options.keys() - StartOptions.__annotations__.keys()
    if unknown:
        name, known = min(unknown), sorted([*StartOptions.__annotations__, *beside])
        raise TypeError(f"a start has no option {name!r}.{nearest(name, known)} It knows: {', '.join(known)}")
