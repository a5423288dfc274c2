"""A tenant with room for one workflow, and the steps of those that it postpones."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import group

from agentq import Concurrency, step
from agentq.ledger import postponed, tenants
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Dispatch
from agentq.states import BlockedBy, JobStatus, OnFull
from tests.support.fake_worker import FakeWorker, Started
from tests.support.steps import add, total

WHO = {"actor": "ana", "reason": "a trial"}
LINE = "max_open:acme"


@step(max_backlog=2)
def render(page: int = 0) -> int:
    """A step of which few jobs may wait."""
    return page


@step(max_backlog=2)
def paint(page: int = 0) -> int:
    """Another such step."""
    return page


STEP_LINE = f"max_backlog:{render.name}"


@step(limits=[Concurrency("postponed-pen", limit=1)])
def draw(page: int = 0) -> int:
    """A step with a limit."""
    return page


def lossy(needs: Any) -> Any:
    """Return a canvas with a fan-in that can do without members."""
    return group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=needs, within=60)


class Postponing(FakeWorker):
    """A client and a worker on one ledger; ``sent`` are the jobs that were dispatched after a commit."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.sent: list[Dispatch] = []
        ledger.publish = self.sent.extend

    def postpone(self, canvas: Any = None, **options: Any) -> Started:
        return self.start(add.s(1, 2) if canvas is None else canvas, on_full=OnFull.POSTPONE, **options)

    def cap(self, most: int | None) -> None:
        self.ledger.write(lambda tx: tenants.set_max_open(tx, "acme", most, action_id=uuid.uuid4(), **WHO))

    def statuses(self, of: Started) -> list[tuple[str, str | None]]:
        return [(job.status, job.blocked_by) for job in self.jobs(of.workflow_id)]

    def is_postponed(self, of: Started) -> bool:
        return self.workflow(of.workflow_id).postponed_on is not None

    def care(self) -> None:
        postponed.let_all_in(self.ledger, "")


@contextmanager
def postponing(ledger: Ledger) -> Iterator[Postponing]:
    """Give a client and a worker on a ledger where one workflow of the tenant may be open."""
    client = Postponing(ledger)
    client.cap(1)
    yield client
    ledger.publish = None


BLOCKED = (JobStatus.BLOCKED, BlockedBy.BACKLOG)
