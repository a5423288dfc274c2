"""A user's project whose log says of each line which logger it is of, with a step for another worker's queue."""

from __future__ import annotations

from agentq import step
from tests.support.project import app

app.conf.worker_log_format = "[%(levelname)s|%(name)s] %(message)s"


@step(queue="elsewhere")
def done_elsewhere(value: int) -> int:
    return value
