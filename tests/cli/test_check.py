"""``agentq check``: a good set-up is good, each fault comes with its fix; ``--ledger`` audits the ledger."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import JobRow, WorkerRow
from agentq.operations import audit, health
from agentq.operations.audit import MOST, Audit
from agentq.operations.health import Finding, Level
from agentq.states import JobStatus
from tests.cli.program import Inside, Program
from tests.support import Broker, Worker, client, postgresql_database, steps
from tests.support.fake_worker import FakeWorker

LONG_AGO = seconds_from_now(-3600.0)


def faults(inside: Inside, *arguments: str) -> dict[str, Finding]:
    """The checks that failed, by their subject; the arguments stand before the command."""
    ended = inside.run(*arguments, "check")
    found = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]
    worst = {level for level, *_ in found}
    assert ended.returncode == (1 if "error" in worst else 0)
    return {
        subject: Finding(level=Level(level), subject=subject, what=text)
        for level, subject, text in found
        if level != Level.OK
    }


def enter_worker(ledger: Ledger, lease: float, **values: Any) -> uuid.UUID:
    worker = {"id": uuid.uuid4(), "hostname": "w@test", "pid": 1, "lease_until": seconds_from_now(lease)}
    ledger.write(lambda tx: tx.connection.execute(insert(WorkerRow).values({**worker, **values})))
    return uuid.UUID(str(worker["id"]))


def change_jobs(ledger: Ledger, **values: Any) -> None:
    ledger.write(lambda tx: tx.connection.execute(update(JobRow).values(values)))


def test_a_good_setup(redis_broker: Broker, ledger_url: str, program: Program) -> None:
    program.env = {
        "AGENTQ_LEDGER": ledger_url,
        "CELERY_BROKER_URL": redis_broker.url,
        "AGENTQ_TEST_QUEUE": redis_broker.queue,
    }
    with Worker(redis_broker, ledger_url) as worker:
        printed = program.text("check", "-A", "tests.support.project")
        assert worker.name in printed
    subjects = [line.split()[1] for line in printed.splitlines()]
    assert {line.split()[0] for line in printed.splitlines()} == {"ok"}, printed
    assert subjects == ["ledger", "database", "schema", "workers", "queues", "celery", "broker", "queues"]


def test_steps_that_cannot_be_defined_are_an_error_of_the_check(
    redis_broker: Broker, ledger_url: str, program: Program
) -> None:
    Path(program.folder, "paints.py").write_text(
        "from agentq import Concurrency, step\n@step(limits=[Concurrency('all', limit=2)])\ndef paint(): ...\n"
    )
    Path(program.folder, "proj.py").write_text(
        "from celery import Celery\nfrom agentq import AgentQ, Concurrency\n"
        f"app = Celery('proj', broker={redis_broker.url!r}, include=['paints'])\n"
        f"AgentQ(app, ledger={ledger_url!r}, limits=[Concurrency('all', limit=3)])\n"
    )
    ended = program.run("check", "-A", "proj")
    assert ended.returncode == 1
    assert "error    steps     step 'paints.paint' and AgentQ(…) declare limit 'all' with 2 slots" in ended.stdout


def test_the_faults_of_an_app(redis_broker: Broker, ledger_url: str, program: Program) -> None:
    Path(program.folder, "proj.py").write_text(
        "from celery import Celery\nfrom agentq import AgentQ, step\n"
        f"app = Celery('proj', broker={redis_broker.url!r})\n"
        "app.conf.worker_prefetch_multiplier = 4\n"
        f"AgentQ(app, ledger={ledger_url!r})\n"
        "@step(queue='gpu')\ndef paint() -> None: ...\n"
    )
    with Worker(redis_broker, ledger_url):
        ended = program.run("check", "-A", "proj")
        assert ended.returncode == 0, "warnings are no errors"
        assert "warning  celery    worker_prefetch_multiplier is 4" in ended.stdout
        assert "warning  queues    no worker that answers consumes queue 'gpu'" in ended.stdout
    redis_broker.kill()
    ended = program.run("check", "-A", "proj")
    assert ended.returncode == 1
    assert "error    broker    cannot be reached" in ended.stdout


def test_without_a_ledger_or_its_schema(inside: Inside, empty_database: str) -> None:
    assert "--ledger URL" in faults(inside)["ledger"].what
    found = faults(inside, "-A", "no_such")
    assert list(found) == ["app"]
    url = empty_database
    if url.startswith("sqlite"):
        assert "create it with: agentq db upgrade" in faults(inside, "--ledger", url)["ledger"].what
        Path(url.removeprefix("sqlite:///")).touch()
    found = faults(inside, "--ledger", url)
    assert list(found) == ["schema"]
    assert "agentq db upgrade" in found["schema"].what


def test_a_database_that_does_not_answer(inside: Inside) -> None:
    found = faults(inside, "--ledger", "postgresql://somebody:secret@127.0.0.1:1/ledger")
    assert found["ledger"].level is Level.ERROR
    assert "secret" not in found["ledger"].what


def test_a_postgresql_that_may_forget(inside: Inside) -> None:
    with postgresql_database(options="synchronous_commit = off") as url:
        assert "start() returned" in faults(inside, "--ledger", url)["database"].what


def test_without_workers_nothing_runs(inside: Inside, ledger: Ledger, ledger_url: str) -> None:
    enter_worker(ledger, lease=-5.0)
    enter_worker(ledger, lease=60.0, stopped_at=now())
    assert "no worker is alive" in faults(inside, "--ledger", ledger_url)["workers"].what


def test_a_worker_that_refused_messages(inside: Inside, ledger: Ledger, ledger_url: str) -> None:
    enter_worker(ledger, lease=60.0, refused_messages=3)
    assert "w@test refused 3 message(s)" in faults(inside, "--ledger", ledger_url)["workers"].what


@pytest.fixture
def with_a_job(redis_broker: Broker, ledger_url: str) -> str:
    """A ledger with one queued job, whose worker never was."""
    with client(redis_broker, ledger_url) as agentq:
        agentq.start(steps.add.s(1, 2).set(queue="gpu"))
    return ledger_url


@pytest.mark.parametrize(
    ("values", "subject", "expected"),
    [
        ({"dispatched_at": LONG_AGO}, "queues", "1 job(s) wait on queue 'gpu', the oldest for 60 min"),
        (
            {"status": JobStatus.SCHEDULED, "due_at": LONG_AGO},
            "schedule",
            "1 job(s) were due more than 60 s ago and were not dispatched",
        ),
    ],
)
def test_jobs_that_do_not_move(
    inside: Inside, ledger: Ledger, with_a_job: str, values: dict[str, Any], subject: str, expected: str
) -> None:
    enter_worker(ledger, lease=60.0)
    assert faults(inside, "--ledger", with_a_job) == {}
    change_jobs(ledger, **values)
    found = faults(inside, "--ledger", with_a_job)
    assert list(found) == [subject]
    assert found[subject].what.startswith(expected)


def test_jobs_in_dead_hands(inside: Inside, ledger: Ledger, with_a_job: str) -> None:
    enter_worker(ledger, lease=60.0)
    dead = enter_worker(ledger, lease=-60.0)
    change_jobs(ledger, status=JobStatus.RUNNING, worker_id=dead, attempt=1, claim_token=1, started_at=now())
    assert faults(inside, "--ledger", with_a_job)["attempts"].what.startswith("1 job(s) are held by workers")


def test_as_json_it_is_the_findings(inside: Inside, ledger: Ledger, ledger_url: str) -> None:
    found = [Finding.model_validate(item) for item in inside.json("--ledger", ledger_url, "check")]
    assert found == list(health.examine(ledger))
    assert any(finding.fix for finding in found if finding.level is Level.WARNING)


def enter_workflows(ledger: Ledger, count: int) -> None:
    fake = FakeWorker(ledger)
    for _ in range(count):
        fake.start(steps.add.s(1, 2) | steps.echo.s())


def spoil(ledger: Ledger) -> None:
    """Break a promise in each first job: it is queued, and no process will ever publish its message."""
    never_dispatched = update(JobRow).where(JobRow.status == JobStatus.QUEUED).values(dispatched_at=None)
    ledger.write(lambda tx: tx.connection.execute(never_dispatched))


class TestAudit:
    def test_a_sound_ledger_is_reported_as_sound(self, inside: Inside, ledger: Ledger, ledger_url: str) -> None:
        assert inside.text("check", "--ledger", ledger_url) == "0 workflows, 0 jobs: sound\n"
        enter_workflows(ledger, 1)
        assert inside.text("check", "--ledger", ledger_url) == "1 workflow, 2 jobs: sound\n"

    def test_the_ledger_may_be_named_at_any_place(self, inside: Inside, ledger_url: str) -> None:
        printed = inside.text("--ledger", ledger_url, "check", "--ledger")
        assert printed == inside.text("check", "--ledger", ledger_url)
        inside.env = {"AGENTQ_LEDGER": ledger_url}
        assert inside.text("check", "--ledger") == printed

    @pytest.mark.unsound
    def test_each_violation_has_a_line(self, inside: Inside, ledger: Ledger, ledger_url: str) -> None:
        enter_workflows(ledger, 2)
        spoil(ledger)
        ended = inside.run("check", "--ledger", ledger_url)
        *lines, last = ended.stdout.splitlines()
        assert ended.returncode == 1
        assert last == "2 workflows, 4 jobs: 2 violations"
        text = (
            "a job is queued, blocked or scheduled but no claim can ever take it (queued without a dispatch time)"
        )
        next_step = "nothing moves it any more: start its workflow again under another key"
        assert {line.partition(": ")[2].partition(", and cancel")[0] for line in lines} == {f"{text}; {next_step}"}
        for line in lines:
            assert inside.text("--ledger", ledger_url, "jobs", "show", line.split()[1].rstrip(":"))

    @pytest.mark.unsound
    def test_violations_beyond_the_limit_are_counted(
        self, inside: Inside, ledger: Ledger, ledger_url: str
    ) -> None:
        enter_workflows(ledger, MOST + 3)
        spoil(ledger)
        lines = inside.run("check", "--ledger", ledger_url).stdout.splitlines()
        assert len(lines) == MOST + 2
        assert lines[-2] == "and 3 more: a job is queued, blocked or scheduled but no claim can ever take it"
        assert lines[-1].endswith(f"{MOST + 3} violations")

    @pytest.mark.unsound
    def test_as_json_it_is_the_report(self, inside: Inside, ledger: Ledger, ledger_url: str) -> None:
        assert Audit.model_validate(inside.json("check", "--ledger", ledger_url)).is_sound
        enter_workflows(ledger, 1)
        spoil(ledger)
        ended = inside.run("check", "--ledger", ledger_url, "--json")
        assert ended.returncode == 1
        assert Audit.model_validate(json.loads(ended.stdout)) == audit.run(ledger)

    def test_a_ledger_that_is_not_there_is_an_error(self, inside: Inside) -> None:
        assert "agentq db upgrade" in inside.error("check", "--ledger", f"sqlite:///{inside.folder}/none.db")
        assert "give --ledger URL" in inside.error("check", "--ledger")
