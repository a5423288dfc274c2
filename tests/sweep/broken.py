"""Ways to break the engine that the sweep must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agentq.ledger import attempts
from agentq.ledger.db.types import AnyRow
from agentq.ledger.handover import Done
from agentq.ledger.on_complete import run_on_complete
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Outcome, Succeed
from agentq.runtime.attempt.attempt import AttemptRunner


def hand_over_later() -> None:
    """Hand over in a transaction of its own, after the one that records the outcome."""
    executor: Any = AttemptRunner
    module: Any = attempts
    hand_over, record = module.hand_over, executor._record
    held_back: list[Done] = []

    def hold_back(tx: Transaction, *done: Done, **_: Any) -> None:
        held_back.extend(done)

    def record_then_hand_over(self: Any, claim: Claim, outcome: Outcome, *rest: Any) -> bool:
        is_accepted: bool = record(self, claim, outcome, *rest)
        done = [held_back.pop() for _ in range(len(held_back))]
        self._ledger.write(lambda tx: hand_over(tx, *done))
        return is_accepted

    module.hand_over = hold_back
    module.is_one_statement = lambda *_: False
    executor._record = record_then_hand_over


def dead_letter_later() -> None:
    """Open a dead letter in a transaction of its own, after the one in which the job failed."""
    executor: Any = AttemptRunner
    module: Any = attempts
    fail_for_good, record = module.fail_for_good, executor._record
    held_back: list[AnyRow] = []

    def record_then_dead_letter(self: Any, claim: Claim, outcome: Outcome, *rest: Any) -> bool:
        is_accepted: bool = record(self, claim, outcome, *rest)
        for dead in [held_back.pop() for _ in range(len(held_back))]:
            self._ledger.write(lambda tx, dead=dead: fail_for_good(tx, dead))
        return is_accepted

    def hold_back(tx: Transaction, dead: AnyRow, **_: Any) -> None:
        held_back.append(dead)

    module.fail_for_good = hold_back
    executor._record = record_then_dead_letter


def complete_before() -> None:
    """Call what ``on_complete`` was given in a transaction of its own, before the one that records the outcome."""
    executor: Any = AttemptRunner
    record = executor._record_once

    def complete_then_record(self: Any, claim: Claim, outcome: Outcome, *rest: Any) -> bool:
        if isinstance(outcome, Succeed) and outcome.on_complete:
            callbacks = outcome.on_complete
            self._ledger.write(lambda tx: run_on_complete(tx.connection, callbacks))
            outcome = replace(outcome, on_complete=())
        is_accepted: bool = record(self, claim, outcome, *rest)
        return is_accepted

    executor._record_once = complete_then_record


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way for way in (hand_over_later, dead_letter_later, complete_before)
}
