"""A project with a schedule of each second."""

from __future__ import annotations

from datetime import timedelta

import agentq
from agentq import Context, step
from tests.support.project import app as app


@step
def note(ctx: Context) -> str:
    """Return the tick that it runs for."""
    assert ctx.scheduled_for is not None
    return ctx.scheduled_for.isoformat()


agentq.schedule("each-second", note.s(), every=timedelta(seconds=1), overlap="allow", catch_up="all")
