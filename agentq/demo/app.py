"""The demo's Celery app. Its worker is an ordinary one: ``celery -A agentq.demo.app worker``."""

from __future__ import annotations

from celery import Celery

from agentq import AgentQ

app = Celery("agentq-demo", include=["agentq.demo.steps"])
app.conf.task_default_queue = "agentq-demo"  # the folder's broker may serve a project of yours too

agentq = AgentQ(
    app,
    lease=5,  # seconds, so that a killed worker's jobs are rescued while you watch
    redispatch_after=2,
    max_value_bytes=4 * 1024 * 1024,  # the report on hundreds of documents is one result
)
