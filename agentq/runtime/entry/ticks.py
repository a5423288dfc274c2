"""The Celery task by which beat says that a tick of a schedule may have come."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import shared_task

from agentq.ledger.ticks import start_named
from agentq.runtime.dispatch.message import TICK
from agentq.runtime.find import engine_of
from agentq.runtime.schedules.applying import build_graph

logger = logging.getLogger(__name__)


def install() -> None:
    """Give the task to every Celery app, made or to come."""
    shared_task(name=TICK, bind=True, ignore_result=True)(_tick)


def _tick(self: Any, name: str, tenant: str | None = None) -> str:
    """Start what the ledger says is due of a schedule: the message itself has no say in it."""
    engine = engine_of(self.app)
    settings = engine.settings
    of = settings.tenant if tenant is None else tenant
    if not isinstance(name, str) or not isinstance(of, str):
        logger.error("a message for %s names schedule %.40r of tenant %.40r; it is refused", TICK, name, tenant)
        return "refused"
    build = partial(build_graph, engine)
    return "started" if start_named(engine.ledger, of, name, build, settings.max_open) else "not due"
