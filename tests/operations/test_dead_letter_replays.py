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
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, total


def test_a_job_is_replayed_so_often_and_then_only_by_force(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2) | echo.s())
    job_id = str(claimed.job_id)
    for replays in range(2):
        assert dead_letters.replay(fake.ledger, job_id, most_replays=2).replays == replays + 1
        die_again(fake)
    with pytest.raises(StateConflict, match=rf"job {job_id} is replayed 2 time.* limit of 2.*--force"):
        dead_letters.replay(fake.ledger, job_id, most_replays=2)
    assert fake.job(claimed.job_id).status == JobStatus.FAILED
    letter = dead_letters.replay(fake.ledger, job_id, most_replays=2, force=True)
    assert (letter.status, letter.replays) == (DeadLetterStatus.REPLAYED, 3)
    run_due(fake)
    assert fake.result(claimed.workflow_id) == {"args": [3], "kwargs": {}}


def test_the_limit_may_be_none_at_all(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    with pytest.raises(StateConflict, match="limit of 0"):
        dead_letters.replay(fake.ledger, str(claimed.job_id), most_replays=0)


def test_the_default_limit_is_the_setting(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    for _ in range(Settings().max_replays):
        dead_letters.replay(fake.ledger, str(claimed.job_id))
        die_again(fake)
    with pytest.raises(StateConflict, match="replayed 10 time"):
        dead_letters.replay(fake.ledger, str(claimed.job_id))


def test_a_replay_of_all_skips_and_reports_those_at_the_limit(fake: FakeWorker) -> None:
    worn = die(fake, add.s(1, 2))
    dead_letters.replay(fake.ledger, str(worn.job_id))
    die_again(fake)
    fresh = [die(fake, add.s(number, 2)) for number in range(3)]
    planned = dead_letters.replay_all(fake.ledger, DeadLetterFilter(), most=2, most_replays=1, dry_run=True)
    assert [letter.job_id for letter in planned.done] == [claimed.job_id for claimed in fresh[:2]]
    assert {letter.status for letter in planned.done} == {DeadLetterStatus.OPEN}
    done = dead_letters.replay_all(fake.ledger, DeadLetterFilter(), most=2, most_replays=1)
    assert [letter.job_id for letter in done.done] == [letter.job_id for letter in planned.done]
    assert {letter.status for letter in done.done} == {DeadLetterStatus.REPLAYED}
    assert (
        [letter.job_id for letter in done.capped] == [letter.job_id for letter in planned.capped] == [worn.job_id]
    )
    forced = dead_letters.replay_all(fake.ledger, DeadLetterFilter(), most_replays=1, force=True)
    assert [letter.job_id for letter in forced.done] == [worn.job_id, fresh[2].job_id]
    assert forced.capped == []


def test_a_replay_of_all_reports_those_it_could_not_replay(fake: FakeWorker) -> None:
    claimed = fake.begin(echo.s() | each(echo.s()))
    fake.succeed(claimed, "no list")
    dead = die(fake, add.s(1, 2))
    planned = dead_letters.replay_all(fake.ledger, DeadLetterFilter(), dry_run=True)
    done = dead_letters.replay_all(fake.ledger, DeadLetterFilter())
    assert [letter.job_id for letter in done.done] == [letter.job_id for letter in planned.done] == [dead.job_id]
    assert planned.refused == done.refused
    (refused,) = done.refused
    assert "each() that got no list" in refused.why
    assert dead_letters.get(fake.ledger, str(refused.id)).status == DeadLetterStatus.OPEN


def test_a_replay_before_the_record_keeps_what_the_job_was_when_it_died(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    letter = dead_letters.replay(fake.ledger, str(claimed.job_id))
    run_due(fake)
    recorded = dead_letters.record(fake.ledger, letter.id)
    assert recorded.snapshot["status"] == JobStatus.FAILED
    assert [attempt["outcome"] for attempt in recorded.snapshot["attempts"]] == ["failed"]


def test_a_replay_of_all_runs_every_missing_member_and_late_ones(fake: FakeWorker) -> None:
    inner = group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2)
    started = fake.start(group(inner, add.s(3, 3), add.s(4, 4)) | total.s().set(needs="all", within=60))
    one, two, three, _ = map(fake.take, started.dispatches)
    fake.succeed(one, 2)
    fake.fail(two)
    fake.succeed(three, 6)
    fake.age(fake.job(three.job_id).join_id, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    open_before = dead_letters.list_(fake.ledger, DeadLetterFilter())
    done = dead_letters.replay_all(fake.ledger, DeadLetterFilter())
    assert {letter.id for letter in done.done} == {letter.id for letter in open_before}
    assert (len(open_before), done.refused) == (3, [])
    while run_due(fake):
        pass
    assert fake.result(started.workflow_id) == 20
