"""The broker, queue and ledger of a contender. Its client and its worker get them by their environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

_VARIABLE = "BENCHMARK_PLACE"


@dataclass(frozen=True)
class Place:
    """The settings that a client and its worker share."""

    broker: str
    results: str
    """URL of the result backend, which agentq does not use."""
    ledger: str | None
    """URL of the ledger, which bare Celery does not have."""
    queue: str
    events: bool
    """True if the worker sends task events."""

    @property
    def node(self) -> str:
        """The worker's name."""
        return f"worker@{self.queue}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which ``here()`` finds this place."""
        return {_VARIABLE: json.dumps(asdict(self))}

    def settings(self) -> dict[str, Any]:
        """Return Celery's settings that are the same on both sides."""
        return {
            "broker_url": self.broker,
            "task_default_queue": self.queue,
            "worker_send_task_events": self.events,
        }


def here() -> Place:
    """Return the place of this process."""
    return Place(**json.loads(os.environ[_VARIABLE]))
