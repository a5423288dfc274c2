"""A busy ledger that is sound: workflows that stand at every point that the audit looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from celery import Signature, group

from agentq import each
from agentq.ledger import cancels, dead_letters, workers
from agentq.ledger.caretaking import rescues
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from tests.support.fake_worker import FakeWorker, decided
from tests.support.limited import LimitedWorker, ask, render, train
from tests.support.steps import add, echo, fail, numbers, total

T = TypeVar("T")


class BusyLedger:
    """A ledger with workflows in many states; each name is a workflow."""

    def __init__(self, ledger: Ledger) -> None:
        self.fake = fake = FakeWorker(ledger)
        self.gone = FakeWorker(ledger).worker_id
        self._write(lambda tx: workers.sign_off(tx, self.gone))
        self.queued = fake.start(add.s(1, 2)).workflow_id
        self.running = fake.begin(add.s(1, 2)).workflow_id
        self.done = self._play(add.s(1, 2) | echo.s())
        self.fanned = self._play(group(add.s(1, 2), add.s(3, 4)) | total.s())
        self.expanded = self._play(numbers.s(3) | each(echo.s()))
        self._play(numbers.s(2) | each(group(add.s(1), echo.s()) | echo.s()) | echo.s())
        self.retried = self._retried().workflow_id
        self.again, self.second = self._tried_again(), self._tried_again()
        fake.succeed(self.second, 3)
        self.branches = self._branches()
        self.cancelled = self._cancelled()
        self.failed = self._failed()
        self.replayed, self.resolved = self._replayed(), self._resolved()
        fake.succeed(fake.begin(echo.s() | each(echo.s())), "no list")
        self.lacking = self._without_a_member(add.s(1, 2), needs=2)
        self.partial = self._without_a_member(add.s(1, 2) | echo.s(), needs=1)
        bereft = fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=1))
        fake.fail(fake.take(bereft.dispatches[0]))
        self.bereft = bereft.workflow_id
        best_effort = fake.begin(add.s(1, 2).set(on_failure="continue") | numbers.si(2))
        fake.fail(best_effort)
        self.best_effort = best_effort.workflow_id
        self.holding, self.blocked, self.keeping = self._limited()

    def _write(self, work: Callable[[Transaction], T]) -> T:
        return self.fake.write(work)

    def _limited(self) -> list[UUID]:
        """A full limit: a job that holds a slot, one that waits, and one that keeps another limit's slot."""
        worker = LimitedWorker(self.fake.ledger.url)
        _, holding, _, keeping = worker.begin_all([render.s(), ask.s(), ask.s(), train.s()])
        worker.set(keeping, refused=9)
        worker.end(worker.next())
        [blocked] = worker.begin_all([ask.s()])
        workflows = [worker.job(job).workflow_id for job in (holding, blocked, keeping)]
        worker.ledger.close()
        return workflows

    def _play(self, canvas: object) -> UUID:
        started = self.fake.start(canvas)
        self.fake.run(*started.dispatches)
        return started.workflow_id

    def _without_a_member(self, lost: Signature, needs: int) -> UUID:
        """A fan-in of two members, of which one failed."""
        dead, alive = map(
            self.fake.take, self.fake.start(group(lost, add.s(3, 4)) | total.s().set(needs=needs)).dispatches
        )
        self.fake.fail(dead)
        self.fake.succeed(alive, 7)
        return dead.workflow_id

    def _retried(self) -> Claim:
        claimed = self.fake.begin(add.s(1, 2) | echo.s())
        self.fake.retry(claimed, delay=3600)
        return claimed

    def _tried_again(self) -> Claim:
        (dispatch,) = self.fake.retry(self.fake.begin(add.s(1, 2))).dispatches
        return self.fake.take(dispatch)

    def _branches(self) -> UUID:
        """Two branches under way: a join that counts one of two, and a step that is queued behind another."""
        canvas = group(group(add.s(1, 2), add.s(3, 4)) | total.s(), add.s(5, 6) | echo.s(), numbers.s(3))
        started = self.fake.start(canvas)
        for dispatch in (started.dispatches[0], started.dispatches[2]):
            self.fake.succeed(self.fake.take(dispatch), 3)
        return started.workflow_id

    def _cancelled(self) -> UUID:
        started = self.fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s())
        self.fake.succeed(self.fake.take(started.dispatches[0]), 3)
        self.fake.take(started.dispatches[1])
        self._write(lambda tx: cancels.cancel(tx, started.workflow_id, actor="ann", reason="enough"))
        return started.workflow_id

    def _failed(self) -> UUID:
        claimed = self.fake.begin(add.s(1, 2) | echo.s())
        self.fake.fail(claimed)
        dead = FakeWorker(self.fake.ledger, lease=-1)
        dead.begin(fail.s("x"))
        self._write(lambda tx: rescues.rescue_lost(tx, decided(0), 10))
        return claimed.workflow_id

    def _replayed(self) -> UUID:
        claimed = self.fake.begin(add.s(1, 2) | echo.s())
        for _ in range(2):
            self.fake.fail(claimed)
            job_id = claimed.job_id
            self._write(lambda tx: dead_letters.replay(tx, job_id, actor="ann", reason="fixed"))  # noqa: B023
            (dispatch,) = self.fake.due()
            claimed = self.fake.take(dispatch)
        return claimed.workflow_id

    def _resolved(self) -> UUID:
        claimed = self.fake.begin(add.s(1, 2) | echo.s())
        self.fake.fail(claimed)
        self._write(lambda tx: dead_letters.resolve(tx, claimed.job_id, "3", actor="ann", reason="known"))
        return claimed.workflow_id
