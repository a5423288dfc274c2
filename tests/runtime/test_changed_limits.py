"""An operator changes a limit while its jobs run: the next job to start goes by the new number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from agentq.ledger import limits as admission
from agentq.ledger.models import JobRow, LimitRow
from agentq.operations import limits
from agentq.states import JobStatus
from tests.runtime.slot_steps import CHANGED, occupy, say
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import Gates, eventually, redis_server

LIMIT, FEWER = "changed", 2
KNOWN = ("-I", "tests.runtime.slot_steps")
CHANGE = "|"
"""In the log of begins and ends: the change is committed."""
WHY = {"reason": "another number", "actor": "ann"}


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module, of more threads than the limit has slots, which a job has used."""
    folder: Path = tmp_path_factory.mktemp("changed")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, pool="threads", concurrency=CHANGED + 2, arguments=KNOWN) as running,
    ):
        Gates(folder).open("first")
        running.agentq.start(occupy.s(str(folder), "first")).result(30)
        yield running


def log(gates: Gates) -> str:
    """The begins and ends of all bodies, in their order."""
    return (gates.folder / "bodies").read_text()


def most_when_one_began(of: str, running: int) -> int:
    """Return how many bodies ran at most when one had begun, of those in a log that begins with so many."""
    most = 0
    for change in of:
        running += 1 if change == "+" else -1
        most = max(most, running if change == "+" else 0)
    return most


def used(at: Stack) -> int:
    """How many slots are taken."""
    query = select(LimitRow.used).where(LimitRow.name == LIMIT)
    return at.agentq.ledger.read(lambda connection: connection.execute(query).scalar_one())


def test_no_job_starts_over_a_number_that_was_lowered_while_more_ran(at: Stack, gates: Gates) -> None:
    workflows = at.agentq.start_many([occupy.s(str(gates.folder), "lowered")] * CHANGED)
    gates.await_reached("lowered", CHANGED)
    workflows += at.agentq.start_many([occupy.s(str(gates.folder), "next")] * CHANGED)
    limits.change(at.agentq.ledger, LIMIT, FEWER, **WHY)
    say(str(gates.folder), CHANGE)
    gates.open("lowered")
    gates.await_reached("next", FEWER)
    eventually(lambda: used(at) == FEWER, what="no slot but those of the new number")
    gates.open("next")
    for workflow in workflows:
        workflow.result(60)
    before, after = log(gates).split(CHANGE)
    assert before == "+" * CHANGED
    assert most_when_one_began(after, CHANGED) == FEWER
    limits.clear(at.agentq.ledger, LIMIT, **WHY)


def test_a_number_that_is_raised_is_used_before_a_job_ends(at: Stack, gates: Gates) -> None:
    limits.change(at.agentq.ledger, LIMIT, FEWER, **WHY)
    workflows = at.agentq.start_many([occupy.s(str(gates.folder), "raised")] * (2 * CHANGED))
    gates.await_reached("raised", FEWER)
    assert used(at) == FEWER
    limits.change(at.agentq.ledger, LIMIT, CHANGED, **WHY)
    gates.await_reached("raised", CHANGED)
    assert (log(gates), used(at)) == ("+" * CHANGED, CHANGED)
    gates.open("raised")
    for workflow in workflows:
        workflow.result(60)
    assert most_when_one_began(log(gates), 0) == CHANGED
    limits.clear(at.agentq.ledger, LIMIT, **WHY)


def test_no_job_starts_while_its_limit_is_paused(at: Stack, gates: Gates) -> None:
    workflows = at.agentq.start_many([occupy.s(str(gates.folder), "paused")] * (2 * CHANGED))
    gates.await_reached("paused", CHANGED)
    limits.pause(at.agentq.ledger, LIMIT, **WHY)
    say(str(gates.folder), CHANGE)
    gates.open("paused")
    eventually(lambda: used(at) == 0, 30, what="the end of all that ran")
    admission.fill(at.agentq.ledger)  # as each caretaker does
    assert log(gates).split(CHANGE) == ["+" * CHANGED, "-" * CHANGED]
    waiting = select(JobRow.id).where(JobRow.status == JobStatus.BLOCKED)
    assert len(at.agentq.ledger.read(lambda connection: connection.execute(waiting).all())) == CHANGED
    limits.resume(at.agentq.ledger, LIMIT, **WHY)
    for workflow in workflows:
        workflow.result(60)
    assert most_when_one_began(log(gates).split(CHANGE)[1], CHANGED) <= CHANGED
