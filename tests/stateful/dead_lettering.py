"""Rules: what failed for good is reported to its handlers, replayed, given a result by hand, or cancelled."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from agentq.exceptions import StateConflict
from agentq.ids import new_id
from agentq.ledger import dead_letter_tasks, dead_letters
from agentq.ledger.db.types import AnyRow
from agentq.ledger.transaction import Transaction
from agentq.states import FAN_INS, DeadLetterStatus, JobStatus, WorkflowStatus
from tests.stateful.base import ALL, LedgerMachine, given_any, harmless, some
from tests.support.fake_worker import _call

_WHO: dict[str, Any] = {"actor": "ann", "reason": "the cause is gone"}


def _dead(machine: LedgerMachine) -> list[str]:
    return machine.model.dead()


def _living(machine: LedgerMachine) -> list[str]:
    dead = set(machine.model.dead())
    return [label for label in machine.model.labels.values() if label not in dead]


def _letters(machine: LedgerMachine) -> list[AnyRow]:
    return machine.seen.others["agentq_dead_letters"]


def _unhandled(machine: LedgerMachine) -> list[AnyRow]:
    return [letter for letter in _letters(machine) if not letter.handled_at]


def _unissued(machine: LedgerMachine) -> list[AnyRow]:
    return [letter for letter in _unhandled(machine) if not letter.dispatched_at]


class DeadLettering(LedgerMachine):
    """Decisions on jobs that failed for good."""

    @given_any(_dead)
    @rule(label=some(_dead), attempts=st.sampled_from([None, 1]), delay=st.sampled_from([0.0, 600.0]))
    def replay(self, label: str, attempts: int | None, delay: float) -> None:
        def replay(tx: Transaction) -> None:
            dead_letters.replay(tx, was.id, attempts=attempts, delay=delay, action_id=action_id, **_WHO)

        action_id = new_id()
        was = self.seen.jobs[self.model.job(label)]
        if was.kind in FAN_INS:
            self._refuse(replay)
            return
        self.write(replay, was.workflow_id, reopened=(was.id, was.workflow_id))
        self.model.letters[was.id][-1] = DeadLetterStatus.REPLAYED
        job = self.seen.jobs[was.id]
        assert (job.status, job.attempt) == (JobStatus.SCHEDULED, was.attempt)
        assert job.max_attempts - job.attempt == (attempts or was.allowance)
        self._check_reopened(was.workflow_id, WorkflowStatus.RUNNING)
        self.look(lambda: self.ledger.write(replay))  # a lost reply

    @given_any(_dead)
    @rule(label=some(_dead))
    def resolve(self, label: str) -> None:
        def resolve(tx: Transaction) -> None:
            dead_letters.resolve(tx, was.id, result, action_id=action_id, **_WHO)

        action_id = new_id()
        was = self.seen.jobs[self.model.job(label)]
        claims = [item.claim for item in self.model.holdings if item.claim.job_id == was.id]
        result = json.dumps(_call(claims[-1])) if claims else "[]"
        if was.kind in FAN_INS:
            self._refuse(resolve)
            return
        self.write(resolve, was.workflow_id, reopened=(was.id, was.workflow_id))
        self.model.letters[was.id][-1] = DeadLetterStatus.RESOLVED
        self.model.supplied[was.id] = result
        self.publish(self.dispatched)
        assert self.seen.jobs[was.id].status == JobStatus.SUCCEEDED
        self._check_reopened(was.workflow_id, WorkflowStatus.RUNNING, WorkflowStatus.SUCCEEDED)
        self.look(lambda: self._write(resolve))  # a lost reply
        self.send(self.dispatched)

    @given_any(_dead)
    @rule(label=some(_dead))
    def cancel_letter(self, label: str) -> None:
        was = self.seen.jobs[self.model.job(label)]
        self.write(lambda tx: dead_letters.cancel(tx, was.id, **_WHO), was.workflow_id)
        self.model.letters[was.id][-1] = DeadLetterStatus.CANCELLED
        assert (self.seen.jobs, self.seen.workflows) == (self.before.jobs, self.before.workflows)

    @harmless
    @given_any(_living)
    @rule(label=some(_living))
    def replay_what_is_not_dead(self, label: str) -> None:
        job_id = self.model.job(label)
        self._refuse(lambda tx: dead_letters.replay(tx, job_id, **_WHO))
        self._refuse(lambda tx: dead_letters.resolve(tx, job_id, "666", **_WHO))
        self._refuse(lambda tx: dead_letters.cancel(tx, job_id, **_WHO))

    @given_any(_unissued)
    @rule(most=st.sampled_from([1, ALL]))
    def issue_new_letters(self, most: int) -> None:
        while self._issue_new(most) == most:
            pass

    def _issue_new(self, most: int) -> int:
        new = {letter.id for letter in _unissued(self)}
        issued = self._of_letters(lambda tx: dead_letter_tasks.issue_new(tx, most))
        assert set(issued) <= new
        assert len(issued) == min(most, len(new))
        return len(issued)

    @harmless
    @given_any(_letters)
    @rule()
    def issue_letters_again(self) -> None:
        late = {letter.id for letter in _letters(self) if letter.dispatched_at and not letter.handled_at}
        assert self.look(lambda: self.ledger.write(lambda tx: dead_letter_tasks.issue_again(tx, 60, ALL))) == []
        issued = self._of_letters(lambda tx: dead_letter_tasks.issue_again(tx, -1, ALL))
        assert set(issued) == late

    @given_any(_unhandled)
    @rule(number=st.integers(0, 5))
    def handle_a_letter(self, number: int) -> None:
        letter = _unhandled(self)[number % len(_unhandled(self))]
        self._of_letters(lambda tx: dead_letter_tasks.record(tx, letter.id, '"first"'))
        self._of_letters(lambda tx: dead_letter_tasks.record(tx, letter.id, '"second"'))
        self._of_letters(lambda tx: dead_letter_tasks.mark_handled(tx, letter.id))
        found = next(row for row in _letters(self) if row.id == letter.id)
        assert (found.snapshot, found.handled_at is None) == ('"first"', False)

    def _of_letters(self, work: Callable[[Transaction], list[uuid.UUID] | None]) -> list[uuid.UUID]:
        """Do what only notes something on dead letters."""
        done = self.write(work)
        assert (self.seen.jobs, self.seen.attempts) == (self.before.jobs, self.before.attempts)
        return done or []

    def _refuse(self, work: Callable[[Transaction], object]) -> None:
        def refused() -> None:
            with pytest.raises(StateConflict):
                self.ledger.write(work)

        self.look(refused)

    def _check_reopened(self, workflow_id: uuid.UUID, *statuses: WorkflowStatus) -> None:
        """A workflow goes on when none of its jobs is failed any more."""
        failed = {job.id for job in self.seen.of(workflow_id) if job.status == JobStatus.FAILED}
        workflow = self.seen.workflows[workflow_id]
        if failed:
            assert workflow.status == WorkflowStatus.FAILED
            assert workflow.failed_job_id in failed
        else:
            assert workflow.status in statuses
            assert workflow.failed_job_id is None
