"""A fan-in at the command line, with a ledger alone: what it waits for, and what a person decides about it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery import Signature, group

from agentq.ledger.caretaking import expiry
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Claim
from tests.cli.program import Inside
from tests.operations.letters import run_due
from tests.support.player import Player
from tests.support.steps import add, total

FIVE = group(add.s(number, 0) for number in range(5))


@pytest.fixture
def player(ledger: Ledger) -> Player:
    """A worker without processes on the ledger that the program looks at."""
    return Player(ledger)


@pytest.fixture
def program(ledger_url: str, inside: Inside) -> Inside:
    """The program's commands in this process, on a ledger of the test's own."""
    inside.env["AGENTQ_LEDGER"] = ledger_url
    return inside


def begin(player: Player, canvas: Signature) -> list[Claim]:
    return [player.take(bell) for bell in player.start(canvas).bells]


def join_of(player: Player, held: Claim) -> str:
    return str(player.job(held.job_id).join_id)


def test_a_fan_in_that_waits_says_for_what_and_until_when(program: Inside, player: Player) -> None:
    held = begin(player, FIVE | total.s().set(needs=4, within=300))

    def told() -> str:
        in_tree = re.search(r"join \(5 branches\) +waiting +waits for (.*)", shown_workflow(program, held[0]))
        assert in_tree is not None
        assert f"waits for  {in_tree[1]}\n" in program.text("jobs", "show", join_of(player, held[0]))
        return in_tree[1]

    assert told() == "5 of its 5 parts; needs 4; until 300 s after the first of them"
    for one in held[:2]:
        player.succeed(one, 1)
    player.fail(held[2])
    until = player.job(player.job(held[0].job_id).join_id).deadline_at
    assert told() == f"2 of its 5 parts; 1 missing; needs 4; until {until:%Y-%m-%d %H:%M:%S} UTC"


def test_a_fan_in_of_which_nothing_was_said_waits_for_its_parts(program: Inside, player: Player) -> None:
    held = begin(player, FIVE | total.s())
    player.succeed(held[0], 1)
    assert "waiting    waits for 4 of its 5 parts\n" in shown_workflow(program, held[0])


@pytest.fixture
def lacking(player: Player) -> Claim:
    """A fan-in that got one of three parts in its time: one waits for a retry, one never ran; a claim of it."""
    canvas = group(add.s(number, 1) for number in range(3)) | total.s().set(needs=2, within=10)
    first, second, _ = player.start(canvas).bells
    held = player.take(first)
    player.succeed(held, 1)
    player.retry(player.take(second), delay=600)
    player.age(player.job(held.job_id).join_id, deadline_at=1)
    player.write(lambda tx: expiry.end_overdue(tx, 10))
    return held


def test_a_fan_in_that_lacks_parts_is_listed_and_says_why(program: Inside, player: Player, lacking: Claim) -> None:
    (letter,) = program.json("dead-letters", "list", "--workflow", str(lacking.workflow_id))
    assert (letter["job_id"], letter["error_category"]) == (join_of(player, lacking), "missing_parts")
    lacks = "agentq.MissingParts: 2 of its 3 parts are missing, but it needs 2"
    shown = program.text("dead-letters", "show", letter["id"])
    assert f"error        {lacks}\n" in shown
    assert "decide       replay runs its missing parts again; resolve, without --result, goes on" in shown
    job = program.text("jobs", "show", letter["job_id"])
    assert f"decide    agentq dead-letters show {letter['job_id']}\n" in job
    assert re.search(rf"join \(3 branches\) +failed +{lacks}", shown_workflow(program, lacking))


def test_its_parts_are_replayed(program: Inside, player: Player, lacking: Claim) -> None:
    join = join_of(player, lacking)
    assert "replayed 1 dead letter\n" in program.text(
        "dead-letters", "replay", join, "--reason", "the provider is back"
    )
    run_due(player)
    assert player.result(lacking.workflow_id) == 6
    assert re.search(rf"replay  the provider is back  {join}\n", shown_workflow(program, lacking))
    assert "decide" not in program.text("dead-letters", "show", join)
    assert "is replayed, but must be open" in program.error("dead-letters", "replay", join)


def test_it_goes_on_with_what_is_there(program: Inside, player: Player, lacking: Claim) -> None:
    join = join_of(player, lacking)
    refused = program.error("dead-letters", "resolve", join, "--result", "6")
    assert "it goes on with those that are there with: agentq dead-letters resolve" in refused
    assert "resolved dead letter" in program.text("dead-letters", "resolve", join, "--reason", "one is enough")
    run_due(player)
    assert player.result(lacking.workflow_id) == 1


def test_it_is_given_up(program: Inside, player: Player, lacking: Claim) -> None:
    assert "cancelled dead letter" in program.text("dead-letters", "cancel", join_of(player, lacking))
    assert program.text("dead-letters", "list") == "no dead letters\n"
    assert program.json("workflows", "show", str(lacking.workflow_id))["status"] == "failed"
    assert program.text("check", "--ledger").endswith(": sound\n")


def test_a_step_is_not_resolved_without_a_result(program: Inside, player: Player) -> None:
    held = player.begin(add.s(1, 2))
    player.fail(held)
    refused = program.error("dead-letters", "resolve", str(held.job_id))
    assert "is a step: give the result that it should have returned" in refused


def shown_workflow(program: Inside, held: Claim) -> Any:
    return program.text("workflows", "show", str(held.workflow_id))
