"""Dead jobs are replayed, one or many, each so often at most."""

from __future__ import annotations

import pytest
from celery import group

from agentq import each
from agentq.exceptions import StateConflict
from agentq.ledger.caretaking import expiry
from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.settings import Settings
from agentq.states import DeadLetterStatus, JobStatus
from tests.operations.letters import die, die_again, run_due
from tests.support.player import Player
from tests.support.steps import add, echo, total


def test_a_job_is_replayed_so_often_and_then_only_by_force(player: Player) -> None:
    held = die(player, add.s(1, 2) | echo.s())
    job_id = str(held.job_id)
    for replays in range(2):
        assert dead_letters.replay(player.ledger, job_id, most_replays=2).replays == replays + 1
        die_again(player)
    with pytest.raises(StateConflict, match=rf"job {job_id} is replayed 2 time.* limit of 2.*--force"):
        dead_letters.replay(player.ledger, job_id, most_replays=2)
    assert player.job(held.job_id).status == JobStatus.FAILED
    letter = dead_letters.replay(player.ledger, job_id, most_replays=2, force=True)
    assert (letter.status, letter.replays) == (DeadLetterStatus.REPLAYED, 3)
    run_due(player)
    assert player.result(held.workflow_id) == {"args": [3], "kwargs": {}}


def test_the_limit_may_be_none_at_all(player: Player) -> None:
    held = die(player, add.s(1, 2))
    with pytest.raises(StateConflict, match="limit of 0"):
        dead_letters.replay(player.ledger, str(held.job_id), most_replays=0)


def test_the_limit_is_the_setting_where_nobody_says(player: Player) -> None:
    held = die(player, add.s(1, 2))
    for _ in range(Settings().max_replays):
        dead_letters.replay(player.ledger, str(held.job_id))
        die_again(player)
    with pytest.raises(StateConflict, match="replayed 10 time"):
        dead_letters.replay(player.ledger, str(held.job_id))


def test_a_replay_of_all_leaves_those_at_the_limit_and_tells_of_them(player: Player) -> None:
    worn = die(player, add.s(1, 2))
    dead_letters.replay(player.ledger, str(worn.job_id))
    die_again(player)
    fresh = [die(player, add.s(number, 2)) for number in range(3)]
    planned = dead_letters.replay_all(player.ledger, DeadLetterFilter(), most=2, most_replays=1, dry_run=True)
    assert [letter.job_id for letter in planned.done] == [held.job_id for held in fresh[:2]]
    assert {letter.status for letter in planned.done} == {DeadLetterStatus.OPEN}
    done = dead_letters.replay_all(player.ledger, DeadLetterFilter(), most=2, most_replays=1)
    assert [letter.job_id for letter in done.done] == [letter.job_id for letter in planned.done]
    assert {letter.status for letter in done.done} == {DeadLetterStatus.REPLAYED}
    assert (
        [letter.job_id for letter in done.capped] == [letter.job_id for letter in planned.capped] == [worn.job_id]
    )
    forced = dead_letters.replay_all(player.ledger, DeadLetterFilter(), most_replays=1, force=True)
    assert [letter.job_id for letter in forced.done] == [worn.job_id, fresh[2].job_id]
    assert forced.capped == []


def test_a_replay_of_all_tells_which_it_could_not_replay(player: Player) -> None:
    held = player.begin(echo.s() | each(echo.s()))
    player.succeed(held, "no list")
    dead = die(player, add.s(1, 2))
    planned = dead_letters.replay_all(player.ledger, DeadLetterFilter(), dry_run=True)
    done = dead_letters.replay_all(player.ledger, DeadLetterFilter())
    assert [letter.job_id for letter in done.done] == [letter.job_id for letter in planned.done] == [dead.job_id]
    assert planned.refused == done.refused
    (refused,) = done.refused
    assert "each() that got no list" in refused.why
    assert dead_letters.get(player.ledger, str(refused.id)).status == DeadLetterStatus.OPEN


def test_a_replay_before_the_record_keeps_what_the_job_was_when_it_died(player: Player) -> None:
    held = die(player, add.s(1, 2))
    letter = dead_letters.replay(player.ledger, str(held.job_id))
    run_due(player)
    recorded = dead_letters.record(player.ledger, letter.id)
    assert recorded.snapshot["status"] == JobStatus.FAILED
    assert [attempt["outcome"] for attempt in recorded.snapshot["attempts"]] == ["failed"]


def test_a_replay_of_all_runs_every_part_that_a_fan_in_lacks_also_those_that_were_late(player: Player) -> None:
    inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
    started = player.start(group(inner, add.s(3, 3), add.s(4, 4)) | total.s().set(needs="all", within=60))
    one, two, three, _ = map(player.take, started.bells)
    player.succeed(one, 2)
    player.fail(two)
    player.succeed(three, 6)
    player.age(player.job(three.job_id).join_id, deadline_at=1)
    player.write(lambda tx: expiry.end_overdue(tx, 10))
    open_before = dead_letters.list_(player.ledger, DeadLetterFilter())
    done = dead_letters.replay_all(player.ledger, DeadLetterFilter())
    assert {letter.id for letter in done.done} == {letter.id for letter in open_before}
    assert (len(open_before), done.refused) == (3, [])
    while run_due(player):
        pass
    assert player.result(started.workflow_id) == 20
