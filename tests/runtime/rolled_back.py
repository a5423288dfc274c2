"""A project of the release before: the step ``newer`` is a plain Celery task beside agentq."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from agentq import AgentQ
from tests.support import gates

app = Celery("rolled_back", broker=os.environ["CELERY_BROKER_URL"])
app.conf.task_default_queue = os.environ["AGENTQ_TEST_QUEUE"]
AgentQ(app)


@app.task(name="tests.faults.broker.steps.newer")  # type: ignore[untyped-decorator]
def newer(*args: Any, **kwargs: Any) -> None:
    """Take anything, as the worst of plain tasks does."""
    gates.note(os.environ["ROLLED_BACK_FOLDER"], "plainly")
