"""A client that declares schedules on a ledger, moves them back in time, and starts what is due."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from agentq.ids import new_id
from agentq.ledger import schedules, ticks
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ScheduleRow, WorkflowRow
from agentq.ledger.queries.times import next_time
from agentq.policies.ticks import Timing
from agentq.states import Overlap, ScheduleAction
from tests.support.fake_worker import FakeWorker, graph_of
from tests.support.steps import add

MINUTE = 60
DAY = 86_400.0


class Scheduler(FakeWorker):
    """A caretaker of schedules; ``unfit`` are those that it could not start, each with its error."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.unfit: list[tuple[str, Exception]] = []
        self._left: set[uuid.UUID] = set()

    def define(self, name: str = "digest", canvas: Any = None, **options: Any) -> schedules.Definition:
        """Return a definition: every minute, unless *options* say otherwise."""
        times = {"cron": None, "every": MINUTE} if "cron" not in options else {"every": None}
        times = {word: options.pop(word, value) for word, value in {**times, "timezone": "UTC"}.items()} | {
            "cron": options.pop("cron", None)
        }
        given: dict[str, Any] = {
            "tenant": "acme",
            "terms": None,
            "overlap": Overlap.SKIP,
            "catch_up": 1,
            "catch_up_window": DAY,
        }
        graph = graph_of(add.s(1, 2) if canvas is None else canvas)
        return schedules.Definition(
            name=name, canvas=json.dumps(graph.to_data()), timing=Timing(**times), **(given | options)
        )

    def declare(self, name: str = "digest", canvas: Any = None, **options: Any) -> ScheduleAction | None:
        """Apply a definition."""
        definition = self.define(name, canvas, **options)
        return self.ledger.write(lambda tx: schedules.apply(tx, definition, new_id(), "ana"))

    def go_back(self, seconds: float, name: str = "digest") -> None:
        """Let a schedule be as if no process had looked at it for so long."""
        row = self.schedule(name)
        since = self.now() - timedelta(seconds=seconds)
        values = {"since": since, "next_at": ticks.timing_of(row).after(since)}
        statement = update(ScheduleRow).where(ScheduleRow.name == name).values(values)
        self.ledger.write(lambda tx: tx.connection.execute(statement))

    def care(self) -> int:
        """Start what is due, as a caretaker does."""
        return ticks.start_due(self.ledger, ticks.graph_of, None, self._leave, self._left)

    def _leave(self, schedule: AnyRow, error: Exception) -> None:
        self._left.add(schedule.id)
        self.unfit.append((schedule.name, error))

    def has_work(self) -> bool:
        """Say whether the look of a caretaker finds a tick."""
        return Work.TICKS in self.ledger.read(lambda connection: find_work(connection, self.worker_id, 10))

    def now(self) -> datetime:
        """The time by the ledger's clock."""
        return self.ledger.read(next_time)[0]

    def schedule(self, name: str = "digest") -> AnyRow:
        """Return the row of a schedule."""
        return self._rows(select(ScheduleRow.__table__).where(ScheduleRow.name == name))[0]

    def started(self) -> list[AnyRow]:
        """Return the workflows that schedules started, by their ticks."""
        scheduled = select(WorkflowRow.__table__).where(WorkflowRow.scheduled_for.is_not(None))
        return self._rows(scheduled.order_by(WorkflowRow.scheduled_for, WorkflowRow.key))

    def end(self, workflow_id: uuid.UUID) -> None:
        """Run the jobs of a workflow to its end."""
        self.run(*(job for job in self.due() if job.workflow_id == workflow_id))
