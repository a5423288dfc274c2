"""``agentq dead-letters``: what is listed, counted, shown and decided, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from celery import group

from agentq import each
from agentq.exceptions import StepFailed
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters
from agentq.operations.dead_letters import CountBy, DeadLetterFilter
from agentq.operations.schemas import DeadLetterSummary
from agentq.outcomes import Fail, Failure
from agentq.states import DeadLetterKind, DeadLetterStatus, JobStatus
from tests.cli.program import Inside, Program
from tests.operations.letters import SECRET, arguments, ask, die, die_again, refuse_message, run_due
from tests.support import Broker, Worker, client
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, fail

REFUSED = Failure(
    "rate_limit",
    "openai.RateLimitError",
    "slow down",
    "in line 1",
    provider="openai",
    status=429,
    code="rate_limit_exceeded",
    request_id="req_17",
)


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes on the ledger that the program looks at."""
    return FakeWorker(ledger)


@pytest.fixture
def program(ledger_url: str, inside: Inside) -> Inside:
    """The program's commands in this process, on a ledger of the test's own."""
    inside.env["AGENTQ_LEDGER"] = ledger_url
    return inside


def outside(folder: Path, ledger_url: str, broker: str = "memory://", queue: str = "celery") -> Program:
    """The program as a process of its own, which knows of no steps but those of an app that it is given."""
    env = {"AGENTQ_LEDGER": ledger_url, "CELERY_BROKER_URL": broker, "AGENTQ_TEST_QUEUE": queue}
    return Program(folder, env)


def test_the_list_shows_persons_and_owners(program: Inside, fake: FakeWorker) -> None:
    claimed = fake.begin(ask.s("one"))
    fake.record(claimed, Fail(REFUSED, needs_person=True))
    program.text("dead-letters", "assign", str(claimed.job_id), "--owner", "bob", "--note", "call them")
    die(fake, add.s(1, 2))
    header, first, second = program.text("dead-letters", "list").splitlines()
    assert header.split()[-4:] == ["CATEGORY", "PERSON", "OWNER", "ERROR"]
    assert [line[header.index("PERSON") : header.index("ERROR")].split() for line in (first, second)] == [
        [],
        ["needed", "bob"],
    ]
    known = dead_letters.list_(fake.ledger, DeadLetterFilter())
    assert list(map(DeadLetterSummary.model_validate, program.json("dead-letters", "list"))) == known


def test_filters(program: Inside, fake: FakeWorker) -> None:
    claimed = fake.begin(ask.s("one"))
    fake.record(claimed, Fail(REFUSED, needs_person=True))
    dead_letters.assign(fake.ledger, str(claimed.job_id), owner="bob")
    die(fake, add.s(1, 2))
    refuse_message(fake)

    def found(*options: str) -> list[str | None]:
        listed = program.json("dead-letters", "list", *options)
        assert program.json("dead-letters", "count", *options) == {"letters": len(listed)}
        return [letter["job_id"] for letter in listed]

    assert found("--owner", "bob") == found("--category", "rate_limit") == [str(claimed.job_id)]
    assert found("--kind", "message") == [None]
    assert found("--needs-person") == [None, str(claimed.job_id)]
    assert found("--needs-person", "--kind", "job", "--step", ask.name) == [str(claimed.job_id)]
    assert found("--status", "replayed") == []
    for option, values in (("--kind", DeadLetterKind), ("--status", DeadLetterStatus)):
        ended = program.run("dead-letters", "list", option, "nonsense")
        assert ended.returncode == 2
        assert all(f"'{value}'" in ended.stderr for value in values)


def test_count(program: Inside, fake: FakeWorker) -> None:
    assert program.text("dead-letters", "count") == "0\n"
    assert program.text("dead-letters", "count", "--by", "step") == "no dead letters\n"
    for canvas in (add.s(1, 2), add.s(3, 4), ask.s("one")):
        die(fake, canvas)
    assert program.text("dead-letters", "count") == "3\n"
    header, *lines = program.text("dead-letters", "count", "--by", "step").splitlines()
    assert [line.split() for line in (header, *lines)] == [["STEP", "LETTERS"], [add.name, "2"], [ask.name, "1"]]
    assert program.json("dead-letters", "count", "--by", "age") == [{"value": "last hour", "letters": 3}]
    for by in CountBy:
        counted = program.json("dead-letters", "count", "--by", by, "--tenant", "acme")
        assert sum(item["letters"] for item in counted) == 3


def test_show_prints_every_attempt_with_the_providers_answer_and_no_secret(
    program: Inside, fake: FakeWorker
) -> None:
    claimed = fake.begin(ask.s("one", api_key=SECRET))
    (dispatch,) = fake.retry(claimed).dispatches
    claimed = fake.take(dispatch)
    fake.record(claimed, Fail(REFUSED))
    dead_letters.edit(fake.ledger, str(claimed.job_id), kwargs={"limit": 3}, reason=f"not {SECRET}")
    shown = program.text("dead-letters", "show", str(claimed.job_id))
    head, first, second, actions, replaced = shown.split("\n\n")
    assert 'arguments    ["one"]\nkeywords     {"limit": 3}\n' in head
    assert "error        openai.RateLimitError: slow down\n" in head
    assert "decide       replay, edit its arguments, resolve with a result, assign or cancel" in head
    assert first.startswith("attempt 1: retried, after ")
    assert first.endswith("  ValueError: no such thing\n  in line 1")
    assert second.startswith("attempt 2: failed, after ")
    said = "  provider openai, status 429, code rate_limit_exceeded, request_id req_17\n"
    assert f"  openai.RateLimitError: slow down\n{said}" in second
    assert "edit arguments  not ***" in actions
    assert replaced.endswith('  [["one"], {"api_key": "***"}]\n')
    assert SECRET not in shown + str(program.json("dead-letters", "show", str(claimed.job_id)))


def test_show_of_messages(program: Inside, fake: FakeWorker) -> None:
    letter_id = refuse_message(fake)
    shown = program.text("dead-letters", "show", letter_id)
    assert "messages     1\n" in shown
    assert "decide       cancel ends it; no other decision is possible\n" in shown
    assert "what could be read of it\n  {}\n" in shown
    assert "cancelled dead letter" in program.text("dead-letters", "cancel", letter_id, "--reason", "old")
    assert "note         old\n" in program.text("dead-letters", "show", letter_id)


def test_a_replay_at_the_limit_is_refused_and_forced(program: Inside, fake: FakeWorker) -> None:
    program.env["AGENTQ_MAX_REPLAYS"] = "1"
    claimed = die(fake, add.s(1, 2))
    replayed = program.json("dead-letters", "replay", str(claimed.job_id))
    assert [letter["status"] for letter in replayed["done"]] == ["replayed"]
    die_again(fake)
    assert "replayed 1 time(s) already" in program.error("dead-letters", "replay", str(claimed.job_id))
    left = program.text("dead-letters", "replay", "--all", "--yes").splitlines()
    assert left[:2] == [
        "replayed 0 dead letters",
        "left 1 that had been replayed too often; replay them too with --force",
    ]
    fake.succeed(fake.begin(echo.s() | each(echo.s())), "no list")
    *_, refused, why = program.text("dead-letters", "replay", "--all", "--yes").splitlines()
    assert refused == "refused 1"
    assert "An each() that got no list cannot go on" in why
    assert program.text("dead-letters", "replay", "--all", "--force", "--yes").startswith("replayed 1 ")
    run_due(fake)
    assert fake.result(claimed.workflow_id) == 3


def test_an_edit_prints_what_was_and_what_is_and_no_secret(program: Inside, fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one", api_key=SECRET))
    printed = program.text(
        *("dead-letters", "edit", str(claimed.job_id)),
        *("--kwargs", '{"api_key": "***", "limit": 2}', "--reason", "too many"),
    ).splitlines()
    assert printed[1:3] == [
        'before  ["one"] {"api_key": "***"}',
        'now     ["one"] {"api_key": "***", "limit": 2}',
    ]
    assert printed[3].startswith("replay it with: agentq dead-letters replay ")
    assert json.loads(arguments(fake, claimed)) == [["one"], {"api_key": SECRET, "limit": 2}]
    edited = program.json("dead-letters", "edit", str(claimed.job_id), "--args", '["two"]')
    assert edited["args"] == ["two"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "Give --args or --kwargs"),
        (["--args", "[1,"], "--args is no JSON"),
        (["--args", "{}"], "--args must be an array"),
        (["--kwargs", "null"], "--kwargs must be an object"),
    ],
)
def test_invalid_json_is_a_usage_error(program: Inside, options: list[str], expected: str) -> None:
    ended = program.run("dead-letters", "edit", "019a0000-0000-7000-8000-000000000000", *options)
    assert ended.returncode == 2
    assert expected in ended.stderr


def test_arguments_that_do_not_fit_are_one_line(program: Inside, fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    said = program.error("dead-letters", "edit", str(claimed.job_id), "--kwargs", '{"limit": "x"}')
    assert "argument 'limit' does not fit its annotation" in said
    said = program.error("dead-letters", "resolve", str(claimed.job_id), "--result", "[1]")
    assert "the result: Input should be an object" in said
    assert "status       open\n" in program.text("dead-letters", "show", str(claimed.job_id))


@pytest.mark.long
def test_a_step_is_known_by_the_app_that_is_named(tmp_path: Path, ledger_url: str, fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2) | echo.s())
    program = outside(tmp_path, ledger_url)
    edit = ("dead-letters", "edit", str(claimed.job_id), "--args", "[10, 20]")
    said = program.error(*edit)
    assert f"step {add.name!r} is not known here" in said
    assert "-A MODULE" in said
    assert "now     [10, 20] {}" in program.text("-A", "tests.support.project", *edit)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_jobs_after_a_result_by_hand_are_dispatched_at_once(
    tmp_path: Path, ledger_url: str, redis_broker: Broker
) -> None:
    program = outside(tmp_path, ledger_url, redis_broker.url, redis_broker.queue)
    late = {"redispatch_after": 600}
    with client(redis_broker, ledger_url) as agentq, Worker(redis_broker, ledger_url, settings=late):
        workflow = agentq.start(group(fail.s("x"), add.s(1, 2)) | echo.s() | echo.s("last"))
        with pytest.raises(StepFailed):
            workflow.result(30)
        (job,) = (job for job in workflow.jobs() if job.status == JobStatus.FAILED)
        said = program.text(
            *("-A", "tests.support.project", "dead-letters", "resolve", str(job.id)),
            *("--result", "null", "--reason", "it may be missing"),
        )
        assert f"of step {fail.name}\n" in said
        assert workflow.result(30) == {"args": [{"args": [[None, 3]], "kwargs": {}}, "last"], "kwargs": {}}
