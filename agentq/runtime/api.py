"""``agentq.current``, and ``start`` and ``workflow``: the same as ``AgentQ``'s, on the current Celery app."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Unpack, cast

from celery import Celery
from celery.app import app_or_default

from agentq.runtime.find import engine_of
from agentq.runtime.schedules.declared import ScheduleOptions
from agentq.runtime.start.options import StartOptions
from agentq.runtime.start.session import Joinable
from agentq.runtime.workflow import Workflow

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ
    from agentq.runtime.start.session import AsyncJoinable


def agentq_of(app: Celery) -> AgentQ:
    """Return the ``AgentQ`` of a Celery app; raises ConfigurationError where it has none."""
    return cast("AgentQ", engine_of(app))


def current() -> AgentQ:
    """Return the ``AgentQ`` of the current Celery app, which has its ``ledger`` and ``settings``.

    Raises ConfigurationError where the current Celery app has none.
    """
    return agentq_of(app_or_default())


def schedule(name: str, canvas: Any, **options: Unpack[ScheduleOptions]) -> None:
    """Declare a schedule on the current Celery app; see ``AgentQ.schedule``."""
    current().schedule(name, canvas, **options)


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return entries of beat for the schedules of the current Celery app; see ``AgentQ.beat_schedule``."""
    return current().beat_schedule()


def start(
    canvas: Any,
    *,
    key: str | None = None,
    session: Joinable | None = None,
    **options: Unpack[StartOptions],
) -> Workflow[Any]:
    """Start a workflow on the current Celery app; see ``AgentQ.start``."""
    return current().start(canvas, key=key, session=session, **options)


def start_many(
    canvases: Iterable[Any],
    *,
    keys: Iterable[str] | None = None,
    session: Joinable | None = None,
    **options: Unpack[StartOptions],
) -> list[Workflow[Any]]:
    """Start many workflows in one transaction, on the current Celery app; see ``AgentQ.start_many``."""
    return current().start_many(canvases, keys=keys, session=session, **options)


def workflow(workflow_id: str) -> Workflow[Any]:
    """Return the handle of a workflow by its id, on the current Celery app; see ``AgentQ.workflow``."""
    return current().workflow(workflow_id)


async def astart(
    canvas: Any,
    *,
    key: str | None = None,
    session: AsyncJoinable | None = None,
    **options: Unpack[StartOptions],
) -> Workflow[Any]:
    """Start a workflow from an event loop, on the current Celery app; see ``AgentQ.astart``."""
    return await current().astart(canvas, key=key, session=session, **options)


async def astart_many(
    canvases: Iterable[Any],
    *,
    keys: Iterable[str] | None = None,
    session: AsyncJoinable | None = None,
    **options: Unpack[StartOptions],
) -> list[Workflow[Any]]:
    """Start many workflows from an event loop, on the current Celery app; see ``AgentQ.astart_many``."""
    return await current().astart_many(canvases, keys=keys, session=session, **options)


async def aworkflow(workflow_id: str) -> Workflow[Any]:
    """Return the handle of a workflow from an event loop, on the current app; see ``AgentQ.aworkflow``."""
    return await current().aworkflow(workflow_id)
