"""Time limits that the pool cannot enforce: said when the worker starts, not found out by a step that hangs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from agentq.runtime.bridge import loop
from agentq.steps import registry
from agentq.steps.definition import StepDefinition

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

_MOST_NAMED = 5


def warn_of_unenforced(engine: Engine, pool: Any) -> None:
    """Log one warning that names the steps whose time limits the pool of this worker cannot enforce."""
    steps = [] if _enforces(pool) else sorted(step.name for step in _consumed(engine) if _is_unbounded(step))
    if steps:
        named = ", ".join(steps[:_MOST_NAMED]) + (
            f" and {len(steps) - _MOST_NAMED} more" * (len(steps) > _MOST_NAMED)
        )
        logger.warning(
            "the %s pool cannot end a step that is over its time limit, so the limits of these are not enforced "
            "here: %s; run them with --pool=prefork, or make them async def, or let them look at "
            "ctx.deadline and ctx.cancelled (see docs/time-limits.md)",
            *(pool_name(pool), named),
        )


def _enforces(pool: Any) -> bool:
    return pool_name(pool) == "prefork"


def pool_name(pool: Any) -> str:
    """Return the name by which people know the pool."""
    module = type(pool).__module__.rpartition(".")[2]
    return {"thread": "threads", "asyncio_pool": "asyncio"}.get(module, module)


def _consumed(engine: Engine) -> list[StepDefinition]:
    """Return the steps whose queues this worker consumes."""
    queues = engine.app.amqp.queues.consume_from
    names = {
        name for queue, steps in engine.catalogue.steps_by_queue().items() if queue in queues for name in steps
    }
    return [step for step in registry.all_steps() if step.name in names]


def _is_unbounded(step: StepDefinition) -> bool:
    """Say whether nothing but the pool could end an attempt in time; coroutines are ended by their loop."""
    is_limited = step.timeout is not None or step.hard_timeout is not None
    return is_limited and not loop.is_async(step.function)
