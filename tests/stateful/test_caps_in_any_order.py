"""In any order of starts, ends and changes of a cap, what is postponed is let in, and no more than may be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis.stateful import rule

from agentq.ledger import moves
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import dispatch_of
from agentq.outcomes import Fail, Succeed
from agentq.states import AttemptOutcome, JobStatus
from tests.stateful.base import LedgerMachine, explore, given_any, some
from tests.stateful.model import Holding, Running
from tests.stateful.postponing import Postponing
from tests.stateful.starting import Starting
from tests.stateful.sweeping import Cancelling
from tests.support.fake_worker import FAILURE, _call

EXAMPLES = int(os.environ.get("AGENTQ_TEST_EXAMPLES", "6"))


def _queued(machine: LedgerMachine, workflow: Running) -> list[AnyRow]:
    return [job for job in machine.seen.of(workflow.id) if job.status == JobStatus.QUEUED]


def _to_run(machine: LedgerMachine) -> list[Running]:
    return [workflow for workflow in machine.model.workflows if _queued(machine, workflow)]


class CapMachine(Starting, Cancelling, Postponing):
    """Callers and operators, and a worker that brings one workflow after the other to its end."""

    @given_any(_to_run)
    @rule(workflow=some(_to_run))
    def run(self, workflow: Running) -> None:
        while jobs := _queued(self, workflow):
            self._succeed(self._claim(jobs[0]))

    @given_any(_to_run)
    @rule(workflow=some(_to_run))
    def fail(self, workflow: Running) -> None:
        holding = self._claim(_queued(self, workflow)[0])
        self.move(lambda: holding.worker.record(holding.claim, Fail(FAILURE)), workflow.id)
        holding.record(AttemptOutcome.FAILED)

    def _succeed(self, holding: Holding) -> None:
        claim, result = holding.claim, json.dumps(_call(holding.claim))
        done = self.move(lambda: holding.worker.record(claim, Succeed(result)), claim.workflow_id)
        holding.record(AttemptOutcome.SUCCEEDED, result)
        self.publish(done.dispatches)

    def _claim(self, job: AnyRow) -> Holding:
        token = moves.new_claim_token()
        claim = self.move(lambda: self.caretaker.claim(dispatch_of(job), token), job.workflow_id)
        assert claim is not None
        holding = Holding(claim, self.caretaker, token, self.model.labels[job.id])
        self.model.holdings.append(holding)
        return holding


@pytest.mark.timeout(600 + 5 * EXAMPLES)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_what_is_postponed_is_let_in_while_there_is_room(ledger_template: str, tmp_path: Path) -> None:
    explore(CapMachine, ledger_template, tmp_path, runs=EXAMPLES, steps=40)
