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
from tests.support.player import Player, judged
from tests.support.steps import add, echo, fail, numbers, total

T = TypeVar("T")


class Scene:
    """What was played; each name is the workflow whose story it tells."""

    def __init__(self, ledger: Ledger) -> None:
        self.player = player = Player(ledger)
        self.gone = Player(ledger).worker_id
        self._write(lambda tx: workers.sign_off(tx, self.gone))
        self.queued = player.start(add.s(1, 2)).workflow_id
        self.running = player.begin(add.s(1, 2)).workflow_id
        self.done = self._play(add.s(1, 2) | echo.s())
        self.fanned = self._play(group(add.s(1, 2), add.s(3, 4)) | total.s())
        self.grown = self._play(numbers.s(3) | each(echo.s()))
        self._play(numbers.s(2) | each(group(add.s(1), echo.s()) | echo.s()) | echo.s())
        self.retried = self._retried().workflow_id
        self.again, self.second = self._tried_again(), self._tried_again()
        player.succeed(self.second, 3)
        self.branches = self._branches()
        self.cancelled = self._cancelled()
        self.failed = self._failed()
        self.replayed, self.resolved = self._replayed(), self._resolved()
        player.succeed(player.begin(echo.s() | each(echo.s())), "no list")
        self.lacking = self._without_a_part(add.s(1, 2), needs=2)
        self.partial = self._without_a_part(add.s(1, 2) | echo.s(), needs=1)
        bereft = player.start(group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=1))
        player.fail(player.take(bereft.bells[0]))
        self.bereft = bereft.workflow_id
        best_effort = player.begin(add.s(1, 2).set(on_failure="continue") | numbers.si(2))
        player.fail(best_effort)
        self.best_effort = best_effort.workflow_id

    def _write(self, work: Callable[[Transaction], T]) -> T:
        return self.player.write(work)

    def _play(self, canvas: object) -> UUID:
        started = self.player.start(canvas)
        self.player.run(*started.bells)
        return started.workflow_id

    def _without_a_part(self, lost: Signature, needs: int) -> UUID:
        """A fan-in of two parts, of which one failed."""
        dead, alive = map(
            self.player.take, self.player.start(group(lost, add.s(3, 4)) | total.s().set(needs=needs)).bells
        )
        self.player.fail(dead)
        self.player.succeed(alive, 7)
        return dead.workflow_id

    def _retried(self) -> Claim:
        held = self.player.begin(add.s(1, 2) | echo.s())
        self.player.retry(held, delay=3600)
        return held

    def _tried_again(self) -> Claim:
        (bell,) = self.player.retry(self.player.begin(add.s(1, 2))).bells
        return self.player.take(bell)

    def _branches(self) -> UUID:
        """Two branches under way: a join that counts one of two, and a step that is queued behind another."""
        canvas = group(group(add.s(1, 2), add.s(3, 4)) | total.s(), add.s(5, 6) | echo.s(), numbers.s(3))
        started = self.player.start(canvas)
        for bell in (started.bells[0], started.bells[2]):
            self.player.succeed(self.player.take(bell), 3)
        return started.workflow_id

    def _cancelled(self) -> UUID:
        started = self.player.start(group(add.s(1, 2), add.s(3, 4)) | total.s())
        self.player.succeed(self.player.take(started.bells[0]), 3)
        self.player.take(started.bells[1])
        self._write(lambda tx: cancels.cancel(tx, started.workflow_id, actor="ann", reason="enough"))
        return started.workflow_id

    def _failed(self) -> UUID:
        held = self.player.begin(add.s(1, 2) | echo.s())
        self.player.fail(held)
        dead = Player(self.player.ledger, lease=-1)
        dead.begin(fail.s("x"))
        self._write(lambda tx: rescues.rescue_lost(tx, judged(0), 10))
        return held.workflow_id

    def _replayed(self) -> UUID:
        held = self.player.begin(add.s(1, 2) | echo.s())
        for _ in range(2):
            self.player.fail(held)
            job_id = held.job_id
            self._write(lambda tx: dead_letters.replay(tx, job_id, actor="ann", reason="mended"))  # noqa: B023
            (bell,) = self.player.due()
            held = self.player.take(bell)
        return held.workflow_id

    def _resolved(self) -> UUID:
        held = self.player.begin(add.s(1, 2) | echo.s())
        self.player.fail(held)
        self._write(lambda tx: dead_letters.resolve(tx, held.job_id, "3", actor="ann", reason="known"))
        return held.workflow_id
