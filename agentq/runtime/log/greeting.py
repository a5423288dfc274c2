"""The log lines of a worker's start and end: its version, its queues and steps, and the jobs it gave back."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from agentq.ledger.db.schema import REVISION
from agentq.ledger.records import Dispatch
from agentq.runtime.bridge import pool_limits

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

_MOST_NAMED = 5


def log_start(engine: Engine, worker: Any, is_ledger_there: bool) -> None:
    """Log a worker's version and queues, and the steps of its app that it serves and does not serve."""
    logger.info(
        "worker %s of agentq %s: ledger %s (schema %s), lease %g s, %s pool with a concurrency of %s",
        worker.hostname,
        _version(),
        engine.ledger.url.render_as_string(hide_password=True),
        REVISION if is_ledger_there else "unknown, as it does not answer",
        engine.settings.lease,
        pool_limits.pool_name(worker.pool),
        worker.concurrency,
    )
    consumed = engine.app.amqp.queues.consume_from
    served, others = 0, defaultdict[str, list[str]](list)
    for queue, steps in sorted(engine.catalogue.steps_by_queue().items()):
        if queue in consumed:
            served += len(steps)
        else:
            others[queue] = steps
    logger.info(
        "worker %s consumes %s, and so runs %s",
        *(worker.hostname, _named("queue", sorted(consumed)), _counted(served, "step")),
    )
    if others:
        unserved = [f"{queue} ({_listed(steps)})" for queue, steps in others.items()]
        logger.info(
            "worker %s consumes no queue of %s, whose jobs wait for other workers: %s",
            *(worker.hostname, _counted(sum(map(len, others.values())), "step"), _listed(unserved, "; ")),
        )


def log_end(hostname: str, given_back: Sequence[Dispatch]) -> None:
    """Log the jobs that a stopping worker gave back."""
    if not given_back:
        logger.info("worker %s has signed off, and had nothing to give back", hostname)
        return
    jobs = [f"{dispatch.step} (job {dispatch.job_id})" for dispatch in given_back]
    logger.info(
        "worker %s has signed off, and gave back %s at no cost, for other workers: %s",
        *(hostname, _counted(len(jobs), "job"), _listed(jobs)),
    )


def _version() -> str:
    try:
        return version("celery-agentq")
    except PackageNotFoundError:  # its files are there, and no installer put them there
        return "of an unknown version"


def _named(what: str, names: Sequence[str]) -> str:
    return f"{what}{'s' * (len(names) != 1)} {_listed(names)}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _listed(names: Iterable[str], separator: str = ", ") -> str:
    every = list(names)
    more = len(every) - _MOST_NAMED
    return separator.join(every[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
