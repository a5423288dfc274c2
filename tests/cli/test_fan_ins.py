"""A fan-in at the command line, with a ledger alone: what it waits for, and what a person decides about it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery import Signature, group

from agentq import each
from agentq.ledger.caretaking import expiry
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Claim
from tests.cli.program import Inside
from tests.operations.letters import run_due
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, numbers, total

FIVE = group(add.s(number, 0) for number in range(5))


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes on the ledger that the program looks at."""
    return FakeWorker(ledger)


@pytest.fixture
def program(ledger_url: str, inside: Inside) -> Inside:
    """The program's commands in this process, on a ledger of the test's own."""
    inside.env["AGENTQ_LEDGER"] = ledger_url
    return inside


def begin(fake: FakeWorker, canvas: Signature) -> list[Claim]:
    return [fake.take(dispatch) for dispatch in fake.start(canvas).dispatches]


def join_of(fake: FakeWorker, claimed: Claim) -> str:
    return str(fake.job(claimed.job_id).join_id)


def test_a_fan_in_that_waits_says_for_what_and_until_when(program: Inside, fake: FakeWorker) -> None:
    claimed = begin(fake, FIVE | total.s().set(needs=4, within=300))

    def condition() -> str:
        in_tree = re.search(r"join \(5 branches\) +waiting +waits for (.*)", shown_workflow(program, claimed[0]))
        assert in_tree is not None
        assert f"waits for  {in_tree[1]}\n" in program.text("jobs", "show", join_of(fake, claimed[0]))
        return in_tree[1]

    assert condition() == "5 of its 5 members; needs 4; until 300 s after the first of them"
    for one in claimed[:2]:
        fake.succeed(one, 1)
    fake.fail(claimed[2])
    until = fake.job(fake.job(claimed[0].job_id).join_id).deadline_at
    assert condition() == f"2 of its 5 members; 1 missing; needs 4; until {until:%Y-%m-%d %H:%M:%S} UTC"


def test_a_fan_in_without_options_waits_for_its_members(program: Inside, fake: FakeWorker) -> None:
    claimed = begin(fake, FIVE | total.s())
    fake.succeed(claimed[0], 1)
    assert "waiting    waits for 4 of its 5 members\n" in shown_workflow(program, claimed[0])


def test_a_fan_in_and_the_step_after_it_name_the_failed_job_before_them(program: Inside, fake: FakeWorker) -> None:
    claimed = begin(fake, FIVE | total.s())
    step = f"step {add.name!r}"
    decide = "failed; decide with: agentq dead-letters show"
    fake.fail(claimed[1])
    first = f"waiting    waits for 5 of its 5 members: {step} {decide} {claimed[1].job_id}\n"
    assert first in shown_workflow(program, claimed[0])
    fake.fail(claimed[3])
    assert f"members: {step} and 1 more {decide} {claimed[1].job_id}\n" in shown_workflow(program, claimed[0])
    assert "waits for 1 job(s) before it\n" in shown_workflow(program, claimed[0]), "the fan-in has not failed"


def test_the_step_after_a_failed_fan_in_names_its_dead_letter(program: Inside, fake: FakeWorker) -> None:
    canvas = group(add.s(number, 1) for number in range(2)) | total.s().set(needs=2) | echo.s()
    claimed = begin(fake, canvas)
    fake.succeed(claimed[0], 1)
    fake.fail(claimed[1])
    join = join_of(fake, claimed[0])
    condition = f"1 job(s) before it: the fan-in failed; decide with: agentq dead-letters show {join}"
    assert f"waits for {condition}\n" in shown_workflow(program, claimed[0])
    (after,) = [job.id for job in fake.jobs(claimed[0].workflow_id) if str(job.after_id) == join]
    assert f"waits for  {condition}\n" in program.text("jobs", "show", str(after))
    assert program.text("dead-letters", "show", join)


@pytest.fixture
def lacking(fake: FakeWorker) -> Claim:
    """A fan-in that got one of three members in its time: one waits for a retry, one never ran; a claim of it."""
    canvas = group(add.s(number, 1) for number in range(3)) | total.s().set(needs=2, within=10)
    first, second, _ = fake.start(canvas).dispatches
    claimed = fake.take(first)
    fake.succeed(claimed, 1)
    fake.retry(fake.take(second), delay=600)
    fake.age(fake.job(claimed.job_id).join_id, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    return claimed


def test_a_fan_in_with_missing_members_is_listed_with_the_reason(
    program: Inside, fake: FakeWorker, lacking: Claim
) -> None:
    (letter,) = program.json("dead-letters", "list", "--workflow", str(lacking.workflow_id))
    assert (letter["job_id"], letter["error_category"]) == (join_of(fake, lacking), "missing_members")
    lacks = "agentq.MissingMembers: 2 of its 3 members are missing, but it needs 2"
    shown = program.text("dead-letters", "show", letter["id"])
    assert f"error        {lacks}\n" in shown
    assert "decide       replay runs its missing members again; resolve, without --result, goes on" in shown
    job = program.text("jobs", "show", letter["job_id"])
    assert f"decide    agentq dead-letters show {letter['job_id']}\n" in job
    assert re.search(rf"join \(3 branches\) +failed +{lacks}", shown_workflow(program, lacking))


def test_the_fan_in_of_an_each_has_the_same_decisions(program: Inside, fake: FakeWorker) -> None:
    begun = fake.begin(numbers.s(2) | each(add.s(1)) | total.s().set(needs=2))
    for dispatch in fake.succeed(begun, [1, 2]).dispatches:
        fake.fail(fake.take(dispatch))
    (letter,) = program.json("dead-letters", "list", "--category", "missing_members")
    shown = program.text("dead-letters", "show", letter["id"])
    assert "decide       replay runs its missing members again; resolve, without --result, goes on" in shown


def test_replay_runs_the_missing_members(program: Inside, fake: FakeWorker, lacking: Claim) -> None:
    join = join_of(fake, lacking)
    assert "replayed 1 dead letter\n" in program.text(
        "dead-letters", "replay", join, "--reason", "the provider is back"
    )
    run_due(fake)
    assert fake.result(lacking.workflow_id) == 6
    assert re.search(rf"replay  the provider is back  {join}\n", shown_workflow(program, lacking))
    assert "decide" not in program.text("dead-letters", "show", join)
    assert "is replayed, but must be open" in program.error("dead-letters", "replay", join)


def test_continue_goes_on_with_the_finished_members(program: Inside, fake: FakeWorker, lacking: Claim) -> None:
    join = join_of(fake, lacking)
    refused = program.error("dead-letters", "resolve", join, "--result", "6")
    assert "it goes on with those that are there with: agentq dead-letters resolve" in refused
    assert "resolved dead letter" in program.text("dead-letters", "resolve", join, "--reason", "one is enough")
    run_due(fake)
    assert fake.result(lacking.workflow_id) == 1


def test_cancel_ends_it(program: Inside, fake: FakeWorker, lacking: Claim) -> None:
    assert "cancelled dead letter" in program.text("dead-letters", "cancel", join_of(fake, lacking))
    assert program.text("dead-letters", "list") == "no dead letters\n"
    assert program.json("workflows", "show", str(lacking.workflow_id))["status"] == "failed"
    assert program.text("check", "--ledger").endswith(": sound\n")


def test_a_step_is_not_resolved_without_a_result(program: Inside, fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.fail(claimed)
    refused = program.error("dead-letters", "resolve", str(claimed.job_id))
    assert "is a step: give the result that it should have returned" in refused


def shown_workflow(program: Inside, claimed: Claim) -> Any:
    return program.text("workflows", "show", str(claimed.workflow_id))
