"""Queues: how many jobs wait and run on each, and how many messages the broker has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import queues
from agentq.ledger.queries.queues import Load
from agentq.operations.schemas import Queue

Depths = Callable[[Collection[str]], Mapping[str, int]]
"""Asks a broker how many messages each of these queues has; says nothing of those that it does not know."""

_IDLE = Load(queued=0, scheduled=0, running=0, oldest_seconds=None, capped=())


def list_(ledger: Ledger, *, known: Collection[str] = (), depths: Depths | None = None) -> list[Queue]:
    """Return every queue that has jobs to be done, and those that are *known*, by name.

    Args:
        ledger: where. It counts up to 10,000 queued jobs in each queue, and up to 10,000 scheduled and running
            ones in all, so that the answer is there at once however many there are; what stopped at that is
            named in ``capped``.
        known: queues to list also where they have no jobs, such as those of an app's steps.
        depths: asks the broker. Default: it is not asked.
    """
    loads = ledger.read(queues.loads)
    names = sorted({*known, *loads})
    found: Mapping[str, int] = {} if depths is None else depths(names)
    return [_queue(name, loads.get(name, _IDLE), found.get(name)) for name in names]


def _queue(name: str, load: Load, depth: int | None) -> Queue:
    return Queue(
        name=name,
        depth=depth,
        queued=load.queued,
        scheduled=load.scheduled,
        running=load.running,
        oldest_seconds=load.oldest_seconds,
        capped=load.capped,
    )
