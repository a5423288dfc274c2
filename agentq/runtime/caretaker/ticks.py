"""A caretaker's part in schedules: it writes those of its code, and starts what is due."""

from __future__ import annotations

import logging
import time
import uuid
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from agentq.ledger import schedules, ticks
from agentq.ledger.db.types import AnyRow
from agentq.ledger.moves.schedules import SYSTEM
from agentq.runtime.schedules.applying import apply_all, build_graph

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

_MOST_ROUNDS = 40
_AGAIN = 10.0
"""Seconds after which a schedule that could not be started here is tried again."""


class DueTicks:
    """The schedules, as one worker sees them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._applied = 0
        self._left: set[uuid.UUID] = set()
        self._logged: set[uuid.UUID] = set()
        self._again_at = 0.0

    def apply_declared(self) -> None:
        """Write the schedules of this code, once; again where the ledger did not answer, or code declared more."""
        declared = len(self._engine.schedules)
        if declared != self._applied:
            for one in apply_all(self._engine, SYSTEM):
                if one.action is not None:
                    logger.info("schedule %s of tenant %s: %s, by this code", one.name, one.tenant, one.action)
            self._applied = declared

    def start_due(self) -> None:
        """Start what is due, and what is owed."""
        engine = self._engine
        build = partial(build_graph, engine)
        if time.monotonic() >= self._again_at:
            self._left.clear()
            self._again_at = time.monotonic() + _AGAIN
        for _ in range(_MOST_ROUNDS):
            found = ticks.start_due(engine.ledger, build, engine.settings.max_open, self._leave, self._left)
            if found < ticks.MOST_AT_ONCE:
                return

    def _leave(self, schedule: AnyRow, error: Exception) -> None:
        """Leave a schedule to a worker of another release; pause it where none comes for long."""
        self._left.add(schedule.id)
        since = schedule.owed_for or schedule.next_at
        what = f"{type(error).__name__}: {error}"
        if schedule.read_at - since > timedelta(seconds=self._engine.settings.release_grace):
            why = f"no worker could start it: {what}"
            self._engine.ledger.write(lambda tx: schedules.pause_unfit(tx, schedule.tenant, schedule.name, why))
            logger.error("schedule %s of tenant %s is paused: %s", schedule.name, schedule.tenant, why)
        elif schedule.id not in self._logged:
            self._logged.add(schedule.id)
            logger.warning(
                "schedule %s of tenant %s is left to another worker, since this one cannot start it: %s",
                *(schedule.name, schedule.tenant, what),
            )
