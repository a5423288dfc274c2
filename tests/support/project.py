"""A user's project: the app that ``celery -A tests.support.project worker`` runs, set up by its environment."""

from __future__ import annotations

import os

from celery import Celery

from agentq import AgentQ
from tests.support import steps  # noqa: F401

app = Celery("project")
app.conf.task_default_queue = os.environ["AGENTQ_TEST_QUEUE"]
app.conf.task_queue_max_priority = int(os.environ.get("AGENTQ_TEST_MOST_PRIORITY", "0")) or None
if master := os.environ.get("AGENTQ_TEST_SENTINEL"):
    app.conf.broker_transport_options = {"master_name": master}
agentq = AgentQ(app)
