"""The client: a process that starts workflows until its standard input is closed, then sees them to their ends.

It never gives a start up: where one raises, the ledger is away, and it is tried again with the same key.
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import select as select_rows

from agentq import AgentQ
from agentq.exceptions import LedgerUnavailable, StateConflict
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.states import WORKFLOW_FINAL, JobStatus, WorkflowStatus
from soaking.journal import Journal
from soaking.shapes import SHAPES
from soaking.steps import fix
from tests.support import Broker
from tests.support.clients import client

_LOOK_EVERY = 0.5
_REPEATS = 3
_RETRIES_OF_A_REPLAY = 20


@dataclass(frozen=True)
class Order:
    """A workflow to be started."""

    shape: str
    number: int

    @property
    def key(self) -> str:
        return f"{self.shape}-{self.number}"


class Client:
    """Starts *rate* workflows a second while fewer than *backlog* are under way."""

    def __init__(self, agentq: AgentQ, journal: Journal, *, seed: int, rate: float, backlog: int) -> None:
        self._agentq = agentq
        self._journal = journal
        self._random = random.Random(seed)
        self._pause = 1 / rate
        self._backlog = backlog
        self._count = 0
        self._again: deque[Order] = deque()
        self._open: dict[uuid.UUID, Order] = {}

    def run(self) -> None:
        """Start workflows until its input ends, then wait for the last one."""
        next_start = next_look = time.monotonic()
        must_stop = False
        while self._open or self._again or not must_stop:
            now = time.monotonic()
            if now >= next_start:
                self._start_next(must_stop)
                next_start = max(next_start + self._pause, now - 1)
            if now >= next_look:
                self._look()
                next_look = time.monotonic() + _LOOK_EVERY
            left = max(0.0, min(next_start, next_look) - time.monotonic())
            if must_stop:
                time.sleep(left)
            else:
                must_stop = bool(select.select([sys.stdin], [], [], left)[0])

    def _start_next(self, must_stop: bool) -> None:
        if not self._again and not must_stop and len(self._open) < self._backlog:
            self._again.extend(self._new_orders())
        if self._again and self._start(self._again[0]):
            self._again.popleft()

    def _new_orders(self) -> list[Order]:
        self._count += 1
        (shape,) = self._random.choices([*SHAPES], [shape.weight for shape in SHAPES.values()])
        return [Order(shape, self._count)] * (_REPEATS if shape == "repeated" else 1)

    def _start(self, order: Order) -> bool:
        """Return whether that is done; a start that raised may have been done or not."""
        self._journal.note("try", key=order.key)
        try:
            workflow = self._agentq.start(SHAPES[order.shape].canvas(order.number), key=order.key)
        except LedgerUnavailable:
            self._journal.note("unavailable", key=order.key)
            return False
        except Exception as error:
            self._journal.note("error", key=order.key, error=f"start raised {error!r}")
            return True
        self._journal.note("started", key=order.key, workflow=workflow.id)
        self._open[uuid.UUID(workflow.id)] = order
        return True

    def _look(self) -> None:
        try:
            for workflow_id, status in self._agentq.ledger.read(self._statuses):
                self._tend(workflow_id, self._open[workflow_id], WorkflowStatus(status))
            for workflow_id in self._agentq.ledger.read(self._held):
                self._agentq.workflow(str(workflow_id)).cancel("as planned", actor="soak")
        except LedgerUnavailable:
            self._journal.note("unavailable")
        except Exception as error:
            self._journal.note("error", error=f"a look raised {error!r}")

    def _statuses(self, connection: Connection) -> list[Any]:
        query = select_rows(WorkflowRow.id, WorkflowRow.status).where(WorkflowRow.id.in_(self._open))
        return list(connection.execute(query))

    def _held(self, connection: Connection) -> list[uuid.UUID]:
        """Return the workflows that are to be cancelled now, since their step runs."""
        ids = [workflow_id for workflow_id, order in self._open.items() if order.shape == "cancelled"]
        query = select_rows(JobRow.workflow_id).where(
            JobRow.workflow_id.in_(ids), JobRow.status == JobStatus.RUNNING
        )
        return list(connection.scalars(query))

    def _tend(self, workflow_id: uuid.UUID, order: Order, status: WorkflowStatus) -> None:
        if order.shape == "replayed" and status is WorkflowStatus.FAILED:
            self._replay(workflow_id)
        elif status in WORKFLOW_FINAL:
            del self._open[workflow_id]
            self._journal.note("ended", key=order.key)

    def _replay(self, workflow_id: uuid.UUID) -> None:
        fix(str(workflow_id))
        for letter in dead_letters.list_(self._agentq.ledger, DeadLetterFilter(workflow=str(workflow_id))):
            try:
                dead_letters.replay(
                    self._agentq.ledger,
                    str(letter.id),
                    attempts=_RETRIES_OF_A_REPLAY,
                    actor="soak",
                    reason="as planned",
                )
            except StateConflict:
                self._journal.note("replayed before")  # that answer was lost
            else:
                self._journal.note("replayed")


def main() -> None:
    """Run as a process of its own; the only argument is JSON."""
    options = json.loads(sys.argv[1])
    broker = Broker(options["broker"], options["queue"])
    with client(broker, options["ledger"], ledger_timeout=options["ledger_timeout"]) as agentq:
        journal = Journal(Path(options["journal"]))
        Client(agentq, journal, seed=options["seed"], rate=options["rate"], backlog=options["backlog"]).run()


if __name__ == "__main__":
    main()
