"""Fan-ins that can do without members: whatever fails, is cancelled or replayed, nothing is ever stuck."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from celery import Signature, group
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import select

from agentq import each
from agentq.exceptions import StateConflict
from agentq.ledger import cancels, dead_letters, revokes
from agentq.ledger.caretaking import expiry, redelivery
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import DeadLetterRow, JobRow, WorkflowRow
from agentq.ledger.records import Claim, Dispatch
from agentq.outcomes import Cancelled, Leave
from agentq.states import FAN_INS, JOB_OPEN, DeadLetterStatus, JobStatus, WorkflowStatus
from tests.stateful.auditing import audit_quickly
from tests.stateful.base import OnOneLedger, explore
from tests.support.fake_worker import FAILURE, FakeWorker
from tests.support.steps import echo, numbers

EXAMPLES = int(os.environ.get("AGENTQ_TEST_EXAMPLES", "12"))
WHO: dict[str, Any] = {"actor": "ann", "reason": "because"}
_MOST_WORKFLOWS = 40  # so many that one can always be started

_needs = st.sampled_from([None, None, "any", "all", 0, 1, 2, 0.5, 0.9])
_within = st.sampled_from([None, None, 60])
_on_failure = st.sampled_from([None, None, None, "continue", "stop", "fail"])


@st.composite
def _steps(draw: st.DrawFn) -> Signature:
    return echo.s().set(on_failure=draw(_on_failure))


@st.composite
def _fans(draw: st.DrawFn, branches: st.SearchStrategy[Signature]) -> Signature:
    body = echo.s().set(needs=draw(_needs), within=draw(_within))
    if draw(st.booleans()):
        return numbers.si(draw(st.integers(0, 3))) | each(draw(branches)) | body
    return group(draw(st.lists(branches, min_size=2, max_size=3))) | body


@st.composite
def _chains(draw: st.DrawFn, links: st.SearchStrategy[Signature]) -> Signature:
    return draw(links) | draw(links)


CANVASES = _fans(st.recursive(_steps(), lambda inner: _chains(inner) | _fans(inner), max_leaves=5))


class MembersMachine(OnOneLedger):
    """One worker, callers and operators on one ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeWorker(self.ledger)
        self.dispatches: list[Dispatch] = []
        self.claimed: list[Claim] = []
        self.started = 0
        self.short: set[Any] = set()

    @precondition(lambda machine: machine.started < _MOST_WORKFLOWS)
    @rule(canvas=CANVASES)
    def start(self, canvas: Signature) -> None:
        self.started += 1
        self._publish(self.fake.start(canvas).dispatches)

    @precondition(lambda machine: machine.dispatches)
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        claimed = self.fake.claim(self._one(data, self.dispatches))
        self.claimed += [claimed] if claimed else []

    @precondition(lambda machine: machine.claimed)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self._succeed(self._one(data, self.claimed))

    @precondition(lambda machine: machine.claimed)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self._publish(self.fake.fail(self._one(data, self.claimed)).dispatches)

    @precondition(lambda machine: machine.claimed)
    @rule(data=st.data())
    def cancel_itself(self, data: st.DataObject) -> None:
        self._publish(self.fake.record(self._one(data, self.claimed), Cancelled("enough")).dispatches)

    @precondition(lambda machine: machine.claimed)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        claimed = self._one(data, self.claimed)
        self.fake.record(claimed, Leave(FAILURE, 0, "a worker whose code fits"))
        self._publish(self.fake.dispatched_by(lambda tx: redelivery.pass_on(tx, [claimed.job_id])))

    @precondition(lambda machine: machine._jobs(*JOB_OPEN))
    @rule(data=st.data(), terminate=st.booleans())
    def revoke_a_job(self, data: st.DataObject, terminate: bool) -> None:
        job = data.draw(st.sampled_from(self._jobs(*JOB_OPEN)))
        self._publish(self.fake.dispatched_by(lambda tx: revokes.revoke(tx, job.id, terminate=terminate)))

    @precondition(lambda machine: machine._jobs(*JOB_OPEN))
    @rule(data=st.data())
    def cancel_a_job(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self._jobs(*JOB_OPEN)))
        self._publish(self.fake.dispatched_by(lambda tx: cancels.cancel_job(tx, job.id, **WHO)))

    @precondition(lambda machine: machine._dead())
    @rule(data=st.data(), by_hand=st.booleans())
    def let_live_again(self, data: st.DataObject, by_hand: bool) -> None:
        job_id = data.draw(st.sampled_from(self._dead()))
        is_fan_in = self.fake.job(job_id).kind in FAN_INS
        try:
            if by_hand and is_fan_in:
                self._publish(self.fake.dispatched_by(lambda tx: dead_letters.go_on(tx, job_id, **WHO)))
                self.short.add(job_id)
            elif by_hand:
                self._publish(self.fake.dispatched_by(lambda tx: dead_letters.resolve(tx, job_id, "[]", **WHO)))
            else:
                self.fake.write(lambda tx: dead_letters.replay(tx, job_id, **WHO))
        except StateConflict as conflict:
            assert "has gone on without it" in str(conflict)  # noqa: PT017
        self._publish(self.fake.due())

    @precondition(lambda machine: machine._dead())
    @rule(data=st.data())
    def close_a_letter(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(self._dead()))
        self.fake.write(lambda tx: dead_letters.cancel(tx, job_id, **WHO))

    @precondition(lambda machine: machine._timed())
    @rule(data=st.data())
    def time_is_over(self, data: st.DataObject) -> None:
        self.fake.age(data.draw(st.sampled_from(self._timed())).id, deadline_at=1)
        self._publish(self.fake.dispatched_by(lambda tx: expiry.end_overdue(tx, 10)))

    @invariant()
    def is_sound(self) -> None:
        assert self.fake.ledger.read(audit_quickly) == []
        for fan_in in self._jobs(JobStatus.SUCCEEDED, fan_ins=True):
            if fan_in.id not in self.short:
                _check_needs(fan_in, self._rows(select(JobRow.status).where(JobRow.join_id == fan_in.id)))

    def teardown(self) -> None:
        """From here on all goes well: then every workflow that was not stopped comes to an end."""
        self._publish(self.fake.dispatched_by(lambda tx: expiry.expire(tx, 1000)))
        while self.dispatches or self.claimed:
            self.claimed += filter(None, [self.fake.claim(self.dispatches.pop(0))] if self.dispatches else [])
            if self.claimed:
                self._succeed(self.claimed.pop())
        self.is_sound()
        left = self._rows(
            select(WorkflowRow.id, WorkflowRow.name).where(WorkflowRow.status == WorkflowStatus.RUNNING)
        )
        assert left == [], "nothing will ever move these"

    def _succeed(self, claimed: Claim) -> None:
        count = int(claimed.arguments[2]) if claimed.step == numbers.name else 0
        result = list(range(count)) if claimed.step == numbers.name else 0
        self._publish(self.fake.succeed(claimed, result).dispatches)

    def _publish(self, dispatches: Iterable[Dispatch]) -> None:
        self.dispatches += dispatches

    @staticmethod
    def _one(data: st.DataObject, items: list[Any]) -> Any:
        return items.pop(data.draw(st.integers(0, len(items) - 1)))

    def _jobs(self, *statuses: JobStatus, fan_ins: bool = False) -> list[AnyRow]:
        is_fan_in = JobRow.kind.in_(FAN_INS)
        kinds = is_fan_in if fan_ins else ~is_fan_in
        return self._rows(select(JobRow.__table__).where(JobRow.status.in_(statuses), kinds).order_by(JobRow.id))

    def _timed(self) -> list[AnyRow]:
        return [job for job in self._jobs(JobStatus.WAITING, fan_ins=True) if job.deadline_at is not None]

    def _dead(self) -> list[Any]:
        letters = select(DeadLetterRow.job_id).where(DeadLetterRow.status == DeadLetterStatus.OPEN)
        return [row.job_id for row in self._rows(letters.order_by(DeadLetterRow.id))]

    def _rows(self, query: Any) -> list[AnyRow]:
        return self.fake.ledger.read(lambda connection: list(connection.execute(query)))


def _check_needs(fan_in: AnyRow, members: list[AnyRow]) -> None:
    there = sum(member.status == JobStatus.SUCCEEDED for member in members)
    match fan_in.needs:
        case None | "any":
            least = min(1, len(members))
        case "all":
            least = len(members)
        case number:
            share = float(number) * len(members) if "." in number else float(number)
            least = min(math.ceil(share - 1e-6), len(members))
    assert there >= least, f"{fan_in.id} needs {fan_in.needs} of {len(members)}, but went on with {there}"


@pytest.mark.timeout(600 + 5 * EXAMPLES)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_fan_ins_go_on_with_what_they_need_or_stop(ledger_template: str, tmp_path: Path) -> None:
    explore(MembersMachine, ledger_template, tmp_path, runs=EXAMPLES, steps=40)
