"""A ``Context`` for a unit test that calls a step as the function it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from agentq.ids import new_id
from agentq.steps.context import Context, MissingMember
from agentq.steps.limit_block import FreeSlots


def make_context(
    *,
    step: str = "test",
    tenant: str = "default",
    attempt: int = 1,
    max_attempts: int = 5,
    deadline: datetime | None = None,
    scheduled_for: datetime | None = None,
    cancelled: bool = False,
    missing: Iterable[MissingMember] = (),
    reported: list[tuple[str, Any]] | None = None,
    used: list[Any] | None = None,
    full: Iterable[str] = (),
) -> Context:
    """Return a context as a worker would give it to a step: ``summarise(make_context(attempt=2), "text")``.

    Args:
        step: the step's name.
        tenant: whose workflow it is.
        attempt: the number of this attempt, from 1.
        max_attempts: the number of the last attempt that the job may have.
        deadline: when it runs out of time (UTC), or None.
        scheduled_for: what ``ctx.scheduled_for`` answers.
        cancelled: what ``ctx.cancelled`` answers.
        missing: what ``ctx.missing`` answers.
        full: limits of which ``ctx.limit`` gets no slot; of all others it gets one at once.
        reported: a list that ``ctx.progress`` and ``ctx.emit`` add to: kind and data of each event.
        used: a list that ``ctx.used`` adds its tokens to.
    """
    members = list(missing)
    events, spent = [] if reported is None else reported, [] if used is None else used
    return Context(
        workflow_id=str(new_id()),
        job_id=str(new_id()),
        step=step,
        tenant=tenant,
        attempt=attempt,
        max_attempts=max_attempts,
        deadline=deadline,
        is_cancelled=lambda: cancelled,
        find_scheduled_for=lambda: scheduled_for,
        find_missing=lambda: list(members),
        slots=FreeSlots(frozenset(full)),
        report=lambda kind, data: events.append((kind, json.loads(data))),
        note_used=spent.append,
    )
