"""Attempts are counted in one form everywhere, results given by hand say by whom, and lists show what ended it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters, jobs, workflows
from agentq.operations.jobs import JobFilter
from agentq.outcomes import Fail, Failure, Leave, RetryLater
from agentq.runtime.workflow import Workflow
from agentq.testing.table import describe
from tests.cli.program import Inside
from tests.operations.letters import die
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo

BUSY = Failure("rate_limit", "openai.RateLimitError", "slow down\nand wait")


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes on the ledger that the program looks at."""
    return FakeWorker(ledger)


@pytest.fixture
def program(ledger_url: str, inside: Inside) -> Inside:
    """The program's commands in this process, on a ledger of the test's own."""
    inside.env["AGENTQ_LEDGER"] = ledger_url
    return inside


def shown_by_surfaces(program: Inside, fake: FakeWorker, job_id: str) -> set[str]:
    """The texts that every surface shows of a job's attempts."""
    job = jobs.get(fake.ledger, job_id)
    tree = program.text("workflows", "show", str(job.workflow_id))
    shown = program.text("jobs", "show", job_id)
    (listed,) = program.json("jobs", "list", "--workflow", str(job.workflow_id))
    row = program.text("jobs", "list", "--workflow", str(job.workflow_id)).splitlines()[1]
    assert f"  {listed['attempts_summary']}  " in row
    table = describe(Workflow(fake.ledger, job.workflow_id))
    assert f"  {listed['attempts_summary']}" in table
    found = [re.search(r"attempts +(.*?)(  |\n|$)", text) for text in (tree, shown)]
    return {listed["attempts_summary"], *(match[1] for match in found if match)}


def test_every_surface_shows_the_same_attempts_through_deferrals_retries_and_replays(
    program: Inside, fake: FakeWorker
) -> None:
    claimed = fake.begin(add.s(1, 2))
    job_id, most = str(claimed.job_id), claimed.max_attempts
    assert shown_by_surfaces(program, fake, job_id) == {f"1 of {most}"}
    deferred = fake.record(claimed, RetryLater(BUSY, 0, "deferred", burns_attempt=False))
    assert shown_by_surfaces(program, fake, job_id) == {f"0 of {most}, 1 more at no cost"}
    claimed = fake.take(*fake.retry(fake.take(*deferred.dispatches)).dispatches)
    assert shown_by_surfaces(program, fake, job_id) == {f"2 of {most}, 1 more at no cost"}
    fake.record(claimed, Fail(BUSY))
    assert f"attempts     2 of {most}, 1 more at no cost\n" in program.text("dead-letters", "show", job_id)
    dead_letters.replay(fake.ledger, job_id, attempts=3)
    assert shown_by_surfaces(program, fake, job_id) == {"0 of 3, 3 before the replay"}
    fake.take(*fake.due())
    assert shown_by_surfaces(program, fake, job_id) == {"1 of 3, 3 before the replay"}


def test_a_result_by_hand_shows_its_actor_and_reason(program: Inside, fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2) | echo.s())
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=7, actor="ann", reason="computed\nby head")
    shown = program.text("jobs", "show", str(claimed.job_id))
    assert re.search(r"\nresult given +by ann, \d+ s ago: computed", shown)
    head = shown.split("\nattempt 1")[0]
    assert not re.search(r"\n(worker|took) ", head), "no worker made it, and nothing took so long"
    tree = program.text("workflows", "show", str(claimed.workflow_id))
    assert re.search(
        r"add 1, 2 +succeeded +attempts 1 of \d +its result is by ann, \d+ s ago: computed by head", tree
    )
    listed = program.json("jobs", "list", "--workflow", str(claimed.workflow_id))
    assert [job["by_hand"] and job["by_hand"]["actor"] for job in listed] == [None, "ann"]
    assert program.json("jobs", "show", str(claimed.job_id))["by_hand"]["reason"] == "computed\nby head"
    assert "its result is by ann" in program.text("jobs", "list", "--step", add.name)


def test_a_job_that_was_only_left_for_another_worker_took_no_time(program: Inside, fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    job_id, workflow_id = str(claimed.job_id), str(claimed.workflow_id)

    def durations() -> list[bool]:
        listed = program.text("jobs", "list").splitlines()[1]
        shown = program.text("jobs", "show", job_id).split("\nattempt 1")[0]
        tree = program.text("workflows", "show", workflow_id).split("add 1, 2")[1]
        seconds = r" \d+\.\d\d s"
        return [bool(re.search(seconds, listed)), "\ntook " in shown, bool(re.search(seconds, tree))]

    assert durations() == [True] * 3
    fake.record(claimed, Leave(BUSY, 60, "a worker that has it"))
    assert durations() == [False] * 3


def test_a_job_that_succeeded_by_itself_has_no_such_word(program: Inside, fake: FakeWorker) -> None:
    fake.run(*fake.start(add.s(1, 2)).dispatches)
    (job,) = program.json("jobs", "list")
    assert job["by_hand"] is None
    assert "result given" not in program.text("jobs", "show", job["id"])


def test_the_list_of_workflows_shows_the_error_that_ended_each(program: Inside, fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.record(claimed, Fail(BUSY))
    doomed = fake.start(add.s(1, 2)).workflow_id
    workflows.cancel(fake.ledger, str(doomed), reason="wrong folder\nreally")
    fake.start(add.s(1, 2))
    header, running, cancelled, failed = program.text("workflows", "list").splitlines()
    errors = [line[header.index("ERROR") :] for line in (running, cancelled, failed)]
    assert errors == ["", "wrong folder", "openai.RateLimitError: slow down"]
    listed = program.json("workflows", "list", "--status", "failed")
    assert [(one["error_category"], one["error_class"], one["error_message"]) for one in listed] == [
        ("rate_limit", "openai.RateLimitError", "slow down\nand wait")
    ]
    dead_letters.replay(fake.ledger, str(claimed.job_id))
    assert workflows.summary(fake.ledger, str(claimed.workflow_id)).error_class is None


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements that are run meanwhile."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_a_list_is_as_many_statements_for_many_rows_as_for_one(fake: FakeWorker) -> None:
    counted = []
    for _ in range(2):
        for number in range(3):
            dead_letters.resolve(fake.ledger, str(die(fake, add.s(number, 2)).job_id), result=7)
            die(fake, add.s(number, 2))
        with statements() as seen:
            assert len(jobs.list_(fake.ledger, JobFilter())) == len(
                workflows.list_(fake.ledger, workflows.WorkflowFilter())
            )
        counted.append(len(seen))
    assert counted[0] == counted[1]
