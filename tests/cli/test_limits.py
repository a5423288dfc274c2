"""``agentq limits`` and ``tenants``: what is printed and changed, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from agentq.cli import limits as cli
from agentq.exceptions import BacklogFull
from agentq.ledger import moves
from agentq.ledger.holds import Full
from agentq.operations import limits, why
from agentq.operations.schemas import Limit, LimitChange, LimitDetails, Tenant, TenantDetails, Why
from agentq.policies.limits import Meters, PerTime
from agentq.policies.limits_file import NO_FILE, LimitsFile
from tests.cli.program import Inside
from tests.support.cooling import AT_ONCE, PAID, call_at_a_rate
from tests.support.holding import CALLS, HoldingWorker, solve
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask

SMALL = "model:small"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


@pytest.fixture
def program(ledger_url: str, tmp_path: Path) -> Inside:
    """The program on the ledger of the worker."""
    return Inside(tmp_path, {"AGENTQ_LEDGER": ledger_url, "LOGNAME": "ana"})


def test_without_a_limit_the_list_says_how_one_comes(worker: LimitedWorker, program: Inside) -> None:
    said = program.text("limits")
    assert said.startswith("no limits: one is there once a job has used it; give a step one with @step(limits=")


def test_as_json_it_is_the_read_model(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()] * (SLOTS + 2))
    program.text("limits", "set", SMALL, "--slots", "1", "--reason", "less quota")
    assert [Limit.model_validate(one) for one in program.json("limits")] == limits.list_(worker.ledger)
    shown = LimitDetails.model_validate(program.json("limits", "show", SMALL))
    assert shown == limits.get(worker.ledger, SMALL)
    assert (len(shown.tenants), len(shown.holders), len(shown.changes)) == (1, SLOTS, 1)


def test_the_list_for_people_shows_slots_line_and_override(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()] * (SLOTS + 2))
    program.text("limits", "pause", SMALL, "--reason", "the provider\nis down")
    header, line = program.text("limits", "list").splitlines()
    assert tuple(header.split()) == cli._COLUMNS
    assert line.split()[:5] == [SMALL, "2", "0", "2", "2"]
    assert line.endswith("paused by ana: the provider is down")


def test_each_number_is_shown_with_its_source(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([call_at_a_rate.s()])
    code = Meters(AT_ONCE, PerTime(100_000, 60.0, 1_000), has_cooldown=True)

    def numbers(file: LimitsFile) -> list[str]:
        worker.ledger.write(lambda tx: moves.redeclare(tx, {"cooling": code}, file))
        shown = program.text("limits", "show", PAID).splitlines()
        return [" ".join(line.split()) for line in shown if line.startswith(("slots", "rate"))]

    assert numbers(NO_FILE) == ["slots 4 by code", "rate 100000/60 by code"]
    file = LimitsFile(rates={PAID: (500, 60.0)})
    assert numbers(file) == ["slots 4 by code", "rate 500/60 by the limits file"]
    program.text("limits", "set", PAID, "--rate", "9/1s", "--until", "2099-01-01T12:00", "--reason", "less quota")
    assert numbers(file) == [
        "slots 4 by code",
        "rate 9/1 by ana, until 2099-01-01 12:00:00 UTC; declared: 500/60 by the limits file",
    ]
    shown = program.json("limits", "show", PAID)
    assert shown["sources"] == {"slots": "code", "rate": "override", "tokens": None}
    assert shown["declared_sources"] == {"slots": "code", "rate": "file", "tokens": None}


def test_a_limit_is_shown_with_its_line_its_holders_and_its_changes(
    worker: LimitedWorker, program: Inside
) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    program.text("tenants", "set", "acme", "--weight", "2.5")
    program.text("limits", "set", SMALL, "--slots", "1", "--for", "2h", "--reason", "less quota")
    head, line, holders, changes = program.text("limits", "show", SMALL).split("\n\n")
    assert "override  by ana, until 20" in head
    assert line.splitlines()[2].split()[:3] == ["acme", "1", "2.5"]
    assert {row[:36] for row in holders.splitlines()[2:]} == {str(job) for job in jobs[:SLOTS]}
    assert "2 → 1" in changes
    assert "less quota" in changes


def test_a_limit_is_shown_with_its_calls_and_the_lost_attempts_that_keep_slots(
    ledger_url: str, program: Inside
) -> None:
    worker = HoldingWorker(ledger_url)
    claim = worker.research()
    assert not isinstance(worker.call(claim, Meters(slots=2, is_strict=True)), Full)
    assert f"{claim.job_id}  1        a call " in program.text("limits", "show", CALLS)
    worker.lose(pause=60)
    shown = limits.get(worker.ledger, CALLS)
    assert [(hold.job_id, hold.attempt, hold.is_running) for hold in shown.holds] == [(claim.job_id, 1, False)]
    assert f"{claim.job_id}  1        a lost attempt " in program.text("limits", "show", CALLS)
    worker.renew(600)
    lost, waits = worker.begin_all([solve.s()] * 2)
    worker.next()
    worker.lose(pause=60)
    worker.tidy()
    said = program.text("why", str(waits))
    assert "slots of licence, 1 of 1, 1 kept for lost attempts, the first until 20" in said
    assert limits.get(worker.ledger, "licence").holds[0].job_id == lost
    worker.ledger.close()


def test_slots_are_set_and_cleared(worker: LimitedWorker, program: Inside) -> None:
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    said = program.text("limits", "set", SMALL, "--slots", "3", "--reason", "more quota")
    assert said == f"limit {SMALL}: 2 → 3 slots\n"
    assert worker.statuses(jobs) == [QUEUED, QUEUED, BLOCKED], "a caretaker admits it, which can publish"
    cleared = LimitChange.model_validate(program.json("limits", "clear", SMALL, "--reason", "as before"))
    assert (cleared.before, cleared.after, cleared.reason) == (3, SLOTS, "as before")
    assert "is as declared, but must be overridden" in program.error("limits", "clear", SMALL)


def test_a_limit_is_paused_and_resumed(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()])
    said = program.text("limits", "pause", SMALL, "--for", "2h", "--reason", "down")
    assert said.startswith(f"limit {SMALL}: 2 → 0 slots, until ")
    assert said.endswith(("UTC, in 2 h\n", "UTC, in 1 h\n"))
    assert program.text("limits", "resume", SMALL) == f"limit {SMALL}: 0 → 2 slots\n"
    assert "must be paused" in program.error("limits", "resume", SMALL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "model:smal"), "no limit has the name 'model:smal'. Did you mean 'model:small'?"),
        (("set", "model:large", "--slots", "1", "--reason", "x"), "A limit is there once a job has used it"),
        (("set", SMALL, "--slots", "-1", "--reason", "x"), "slots is -1; it must be a whole number from 0"),
        (("set", SMALL, "--rate", "5/60", "--reason", "x"), "limit model:small has no rate to set"),
        (("set", SMALL, "--tokens", "5/60", "--reason", "x"), "Give its steps a Tokens(…) of this name"),
        (("cool", SMALL, "2d", "--reason", "x"), "seconds is 172800.0; it must be from 0 to 86400, a day"),
        (("cool", "model:large", "60", "--reason", "x"), "no limit has the name 'model:large'"),
        (("pause", SMALL, "--reason", ""), "a reason is needed"),
        (("pause", SMALL, "--until", "2020-01-01", "--reason", "x"), "would end at 2020-01-01 00:00:00 UTC"),
        (("pause", SMALL, "--for", "99999999d", "--reason", "x"), "must be over 0"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line_with_the_reason(
    worker: LimitedWorker, program: Inside, arguments: tuple[str, ...], said: str
) -> None:
    worker.begin_all([ask.s()])
    assert said in program.error("limits", *arguments)
    assert limits.get(worker.ledger, SMALL).changes == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("limits", "set", SMALL, "--slots", "1"), "Missing option '--reason'"),
        (("limits", "set", SMALL, "--reason", "x"), "Give --slots, --rate or --tokens"),
        (("limits", "set", SMALL, "--rate", "500", "--reason", "x"), "'500' is no number in a time"),
        (("limits", "set", SMALL, "--tokens", "5/long", "--reason", "x"), "'5/long' is no number"),
        (("limits", "cool", SMALL, "long", "--reason", "x"), "'long' is no duration"),
        (("limits", "cool", SMALL, "60"), "Missing option '--reason'"),
        (("limits", "set", SMALL, "--slots", "many", "--reason", "x"), "'many' is not a valid integer"),
        (("limits", "pause", SMALL), "Missing option '--reason'"),
        (("limits", "pause", SMALL, "--until", "noon", "--reason", "x"), "'noon' is no time; write it as 18:00"),
        (("limits", "pause", SMALL, "--until", "18:00", "--for", "1h", "--reason", "x"), "one end"),
        (("limits", "pause", SMALL, "--for", "long", "--reason", "x"), "'long' is no duration"),
        (("tenants", "set", "acme"), "Give --weight or --max-open, or both."),
    ],
    ids=str,
)
def test_what_cannot_be_understood_exits_with_2(program: Inside, arguments: tuple[str, ...], said: str) -> None:
    ended = program.run(*arguments)
    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())


def test_a_limit_is_cooled_and_its_cooldown_ended(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()])
    said = program.text("limits", "cool", SMALL, "60", "--reason", "the provider asks for less")
    assert said.startswith(f"limit {SMALL}: cools until ")
    [job] = worker.begin_all([ask.s()])
    (_, line) = program.text("limits", "list").splitlines()
    assert " s (ana: the provider asks for less)" in line
    assert "cooldown  60 s (ana: " in program.text("limits", "show", SMALL)
    assert f"cooldown of {SMALL}, " in program.text("why", str(job))
    ended = program.text("limits", "cool", SMALL, "0", "--reason", "it is up again")
    assert ended == f"limit {SMALL}: its cooldown is over\n"
    assert "over; 2 at once" in program.text("limits", "list")
    assert [change.actor for change in limits.get(worker.ledger, SMALL).changes] == ["ana", "ana"]


def test_a_time_of_the_clock_is_the_next_one_in_utc() -> None:
    now = datetime.now(UTC)
    for hours in (-1, 1):
        end = cli._end(f"{now + timedelta(hours=hours):%H:%M}")
        assert timedelta(0) < end - now <= timedelta(days=1)
        assert (end.hour, end.second) == ((now + timedelta(hours=hours)).hour, 0)
    assert cli._end("2090-01-01T18:00+02:00") == datetime(2090, 1, 1, 16, tzinfo=UTC)
    assert cli._end("2090-01-01 18:00") == datetime(2090, 1, 1, 18, tzinfo=UTC)
    with pytest.raises(click.BadParameter):
        cli._end("25:00")


def test_weights_of_tenants_are_set_and_listed(worker: LimitedWorker, program: Inside) -> None:
    assert "all weigh 1" in program.text("tenants")
    said = program.text("tenants", "set", "acme", "--weight", "4", "--reason", "a large account")
    assert said == "tenant acme weighs 4, max open as code says\n"
    assert [Tenant.model_validate(one) for one in program.json("tenants")] == [Tenant(tenant="acme", weight=4)]
    assert program.text("tenants", "list").splitlines()[1].split() == ["acme", "4", "0", "as", "code", "says"]
    assert "weight 1 → 4  a large account" in program.text("tenants", "show", "acme")
    assert "weight is 0.0; it must be from 0.001 to 1000" in program.error(
        "tenants", "set", "acme", "--weight", "0"
    )


def test_caps_of_tenants_are_set_shown_and_cleared(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()])
    said = program.text("tenants", "set", "acme", "--max-open", "1", "--reason", "a trial")
    assert said == "tenant acme weighs 1, max open 1\n"
    assert program.text("tenants").splitlines()[1].split() == ["acme", "1", "1", "1"]
    with pytest.raises(BacklogFull):
        worker.begin_all([ask.s()])
    head, changes = program.text("tenants", "show", "acme").split("\n\n")
    assert [line.split()[:2] for line in head.splitlines()] == [
        ["tenant", "acme"],
        ["weight", "1"],
        ["open", "1"],
        ["oldest", head.splitlines()[3].split()[1]],
        ["max", "open"],
        ["postponed", "0"],
    ]
    assert changes.splitlines()[2].endswith("max open as code says → 1  a trial")
    assert "max open as code says" in program.text("tenants", "clear", "acme")
    assert "must be one with a max_open of its own" in program.error("tenants", "clear", "acme")
    shown = TenantDetails.model_validate(program.json("tenants", "show", "acme"))
    assert [(change.before, change.after) for change in shown.changes] == [(1, None), (None, 1)]
    assert "it must be a whole number from 0 to 1000000" in program.error(
        "tenants", "set", "acme", "--max-open", "-1"
    )


def test_a_blocked_job_shows_its_limit_wherever_it_is_shown(worker: LimitedWorker, program: Inside) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [job] = worker.begin_all([ask.s()])
    expected = f"slots of {SMALL}, 2 of 2, 1st of tenant acme"
    assert f"waits for  {expected}" in program.text("jobs", "show", str(job))
    (listed,) = program.text("jobs", "list", "--waiting-for", SMALL).splitlines()[1:]
    assert listed.endswith(f"waits for {expected}")
    workflow = str(worker.job(job).workflow_id)
    assert f"waits for {expected}" in program.text("workflows", "show", workflow)
    assert program.text("jobs", "list", "--waiting-for", "model:large") == "no jobs\n"


def test_why_says_the_reason_of_each_job_and_the_event_that_ends_it(
    worker: LimitedWorker, program: Inside
) -> None:
    worker.begin_all([ask.s()] * SLOTS)
    [job] = worker.begin_all([ask.s() | ask.si("large")])
    workflow = str(worker.job(job).workflow_id)
    head, blocked, waiting = program.text("why", workflow).split("\n\n")
    assert head == f"workflow {workflow} is running"
    assert f"waits for  slots of {SMALL}, 2 of 2, 1st of tenant acme\n" in blocked
    assert "ends when  a slot comes free, and its turn has come" in blocked
    assert "waits for  1 job(s) before it" in waiting
    assert program.text("why", workflow, "--limit", "1").endswith("there are more, beyond --limit 1\n")
    assert Why.model_validate(program.json("why", str(job))) == why.find(worker.ledger, str(job))
    assert "no workflow fits 'ffff'" in program.error("why", "ffff")


def test_why_of_what_is_done_says_so(worker: LimitedWorker, program: Inside) -> None:
    [job] = worker.begin_all([ask.s()])
    worker.end(worker.next())
    assert program.text("why", str(job)) == f"job {job} is succeeded: it waits for nothing\n"
