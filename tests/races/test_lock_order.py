"""Two transactions meet after any lock that the first one takes: one waits, and neither has to be undone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery import group

from agentq import each
from agentq.exceptions import StateConflict
from agentq.ledger import cancels
from agentq.ledger.caretaking import expiry
from agentq.ledger.records import Claim
from agentq.operations import dead_letters
from tests.races.overlap import meetings
from tests.support.fake_worker import FakeWorker, Started
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, numbers, total

Call = Callable[[], Any]

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")

INNER = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
OUTER = group(INNER, add.s(3, 3)) | total.s().set(needs=2)
PART = group(add.s(1, 1), add.s(2, 2)) | total.s()
LACKING = group(PART, add.s(3, 3)) | total.s().set(needs=2)
STOPPED = group(OUTER, add.s(9, 9)) | total.s()
EXPANDED = group(numbers.s(2) | each(add.s(1)) | total.s(), add.s(1, 1)) | total.s().set(needs="any")
WHO: dict[str, Any] = {"actor": "ann", "reason": "known"}


@covers(Fault.CONFLICT, Phase.REPLAY, Phase.FAN_IN)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("replay", "member"), ("replay", "outer")),
        (("replay", "outer"), ("replay", "member")),
        (("resolve", "outer"), ("replay", "member")),
    ],
    ids=lambda decision: " ".join(decision),
)
def test_decisions_on_a_member_and_its_fan_in_that_meet_do_not_deadlock(
    ledger_url: str, first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Of the two, one is made."""

    def pair(one: FakeWorker, two: FakeWorker) -> tuple[Call, Call]:
        started = one.start(OUTER)
        member, sibling, other = map(one.take, started.dispatches)
        one.fail(member)
        one.succeed(sibling, 4)
        one.succeed(other, 6)
        _, outer = fan_ins(one, started)
        dead = {"member": member.job_id, "outer": outer}
        return decision(one, first[0], dead[first[1]]), decision(two, second[0], dead[second[1]])

    for made in meetings(ledger_url, pair):
        assert sum(made) == 1


@covers(Fault.CONFLICT, Phase.DEAD_LETTER, Phase.FAN_IN)
@pytest.mark.parametrize("failure_first", [True, False])
def test_a_failure_in_a_missing_member_beside_a_result_of_its_fan_in_does_not_deadlock(
    ledger_url: str, failure_first: bool
) -> None:
    """The fan-in goes on, and cancels the other job of the member that it misses, or finds it dead."""

    def pair(one: FakeWorker, two: FakeWorker) -> tuple[Call, Call]:
        started = one.start(LACKING)
        dead, running, done = map(one.take, started.dispatches)
        one.fail(dead)
        one.succeed(done, 6)
        fake, other = (one, two) if failure_first else (two, one)
        failure = partial(fake.fail, running)
        result = decision(other, "resolve", fan_ins(one, started)[-1])
        return (failure, result) if failure_first else (result, failure)

    for made in meetings(ledger_url, pair):
        assert made[1 if failure_first else 0] is True


@covers(Fault.CONFLICT, Phase.FAN_OUT, Phase.CANCEL)
def test_a_failure_of_a_branch_beside_a_cancel_does_not_deadlock(ledger_url: str) -> None:
    """The branches have later ids than the fan-in that waits for them."""

    def pair(one: FakeWorker, two: FakeWorker) -> tuple[Call, Call]:
        numbered = one.take(one.start(EXPANDED).dispatches[0])
        branch, _ = map(one.take, one.succeed(numbered, [1, 2]).dispatches)
        cancel = partial(cancels.cancel, workflow_id=branch.workflow_id, **WHO)
        return partial(one.fail, branch), partial(two.write, cancel)

    for made in meetings(ledger_url, pair):
        assert made[1] is True


def fails(fake: FakeWorker, inner: list[Claim]) -> Call:
    fake.succeed(inner[1], 4)
    return partial(fake.fail, inner[0])


def is_late(fake: FakeWorker, inner: list[Claim]) -> Call:
    fake.succeed(inner[1], 4)
    fake.age(fan_ins(fake, inner[0])[0], deadline_at=1)
    return partial(fake.write, partial(expiry.end_overdue, most=10))


def fails_with_its_sibling(fake: FakeWorker, inner: list[Claim]) -> Call:
    for claimed in inner:
        fake.age(claimed.job_id, deadline_at=1)
    return partial(fake.write, partial(expiry.end_overdue, most=10))


@covers(Fault.CONFLICT, Phase.DEAD_LETTER, Phase.FAN_IN)
@pytest.mark.parametrize("inner_first", [True, False], ids=["inner first", "outer first"])
@pytest.mark.parametrize("loss", [fails, is_late, fails_with_its_sibling], ids=lambda loss: loss.__name__)
def test_an_inner_and_an_outer_fan_in_of_a_failed_workflow_that_lose_members_do_not_deadlock(
    ledger_url: str, loss: Callable[[FakeWorker, list[Claim]], Call], inner_first: bool
) -> None:
    """The outer one loses the inner one too, and each loss may let the workflow run again."""

    def pair(one: FakeWorker, two: FakeWorker) -> tuple[Call, Call]:
        *inner, other, stopper = map(one.take, one.start(STOPPED).dispatches)
        one.fail(stopper)
        if inner_first:
            return loss(one, inner), partial(two.fail, other)
        return partial(one.fail, other), loss(two, inner)

    for made in meetings(ledger_url, pair):
        assert all(made)


def decision(fake: FakeWorker, way: str, job_id: Any) -> Call:
    """A decision about a dead job, which returns False where another person made one."""

    def decide() -> bool:
        try:
            getattr(dead_letters, way)(fake.ledger, str(job_id))
        except StateConflict:
            return False
        return True

    return decide


def fan_ins(fake: FakeWorker, started: Started | Claim) -> list[Any]:
    """The ids of a workflow's fan-ins, inner ones first."""
    return [job.id for job in fake.jobs(started.workflow_id) if job.kind == "join"]
