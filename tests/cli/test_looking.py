"""``agentq queues``, ``workers`` and ``prune``: what is printed, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentq.ledger.db.session import Ledger
from agentq.operations import queues, workers
from agentq.operations.schemas import Pruned, Queue, Worker
from tests.cli.conftest import CliLedger
from tests.cli.program import Inside, Loaded
from tests.support import Broker, client
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo

PROJECT = "tests.support.project"


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes."""
    return FakeWorker(ledger)


@pytest.fixture
def program(ledger_url: str, tmp_path: Path) -> Inside:
    """The program on the ledger of the player."""
    return Inside(tmp_path, {"AGENTQ_LEDGER": ledger_url})


class TestQueues:
    def test_as_json_it_is_the_read_model(self, fake: FakeWorker, program: Inside) -> None:
        fake.start(echo.s(1).set(queue="llm"))
        (listed,) = [Queue.model_validate(item) for item in program.json("queues")]
        (known,) = queues.list_(fake.ledger)
        assert listed.model_copy(update={"oldest_seconds": known.oldest_seconds}) == known
        assert listed.depth is None

    def test_for_people_without_an_app_the_depth_is_unknown(self, fake: FakeWorker, program: Inside) -> None:
        assert program.text("queues") == "no queue has jobs to be done\n"
        fake.start(echo.s(1).set(queue="llm"))
        header, line = program.text("queues", "list").splitlines()
        assert header.split() == ["QUEUE", "DEPTH", "QUEUED", "OLDEST", "RUNNING", "SCHEDULED"]
        assert line.split() == ["llm", "?", "1", "0", "s", "0", "0"]

    @pytest.mark.parametrize("broker", ["redis_broker", "rabbitmq_broker"])
    def test_with_an_app_queues_show_the_brokers_depths(
        self, broker: str, ledger_url: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        running: Broker = request.getfixturevalue(broker)
        env = {"CELERY_BROKER_URL": running.url, "AGENTQ_TEST_QUEUE": running.queue, "AGENTQ_LEDGER": ledger_url}
        with client(running, ledger_url) as agentq:
            for number in range(3):
                agentq.start(echo.s(number))
        found = {item["name"]: item for item in Loaded(tmp_path, env).json("-A", PROJECT, "queues")}
        assert (found[running.queue]["depth"], found[running.queue]["queued"]) == (3, 3)
        assert found["dead_letter"]["queued"] == 0

    def test_a_broker_that_is_down_hides_only_the_depths(
        self, redis_broker: Broker, ledger_url: str, fake: FakeWorker, tmp_path: Path
    ) -> None:
        env = {"CELERY_BROKER_URL": redis_broker.url, "AGENTQ_TEST_QUEUE": "llm", "AGENTQ_LEDGER": ledger_url}
        fake.start(echo.s(1).set(queue="llm"))
        redis_broker.kill()
        ended = Loaded(tmp_path, env).run("-A", PROJECT, "queues", "--json")
        assert ended.returncode == 0
        assert ended.stderr.startswith("warning: the broker does not give its depths: ")
        assert {item["name"]: (item["depth"], item["queued"]) for item in json.loads(ended.stdout)} == {
            "dead_letter": (None, 0),
            "llm": (None, 1),
        }


class TestWorkers:
    def test_as_json_it_is_the_read_model(self, fake: FakeWorker, program: Inside) -> None:
        fake.begin(echo.s(1))
        (listed,) = [Worker.model_validate(item) for item in program.json("workers")]
        assert [listed] == workers.list_(fake.ledger)
        worker_id = str(fake.worker_id)
        shown = workers.get(fake.ledger, worker_id)
        assert program.json("workers", "show", worker_id) == shown.model_dump(mode="json")

    def test_for_people(self, fake: FakeWorker, program: Inside) -> None:
        claimed = fake.begin(add.s(1, 2))
        FakeWorker(fake.ledger, lease=-60)
        header, *lines = program.text("workers").splitlines()
        assert header.split() == ["ID", "STATUS", "RUNNING", "SINCE", "LEASE", "ENDS", "REFUSED", "WORKER"]
        by_id = {line.split()[0]: line.split()[1:3] for line in lines}
        assert by_id.pop(str(fake.worker_id)) == ["alive", "1"]
        assert list(by_id.values()) == [["lost", "0"]]
        assert len(program.text("workers", "--status", "lost").splitlines()) == 2
        shown = program.text("workers", "show", str(fake.worker_id))
        assert "status      alive\n" in shown
        assert f"{claimed.job_id}  " in shown.split("\njobs\n")[1]

    def test_a_real_worker(self, cli_ledger: CliLedger) -> None:
        (worker,) = cli_ledger.program.json("workers", "list")
        assert worker["running"] == 0
        assert worker["hostname"] in cli_ledger.program.text("workers", "show", worker["id"])
        assert cli_ledger.program.json("workers", "show", worker["hostname"])["id"] == worker["id"]
        assert "no worker fits 'nobody@here'" in cli_ledger.program.error("workers", "show", "nobody@here")


class TestPrune:
    def test_prune_without_yes_deletes_nothing(self, fake: FakeWorker, program: Inside) -> None:
        fake.run(*fake.start(echo.s(1)).dispatches)
        what = "1 workflow(s) with 1 job(s), and 0 closed dead letter(s)\n"
        dry = f"would delete {what}nothing was deleted; to do it: --yes\n"
        assert program.text("prune", "--older-than", "0") == dry
        assert program.text("prune", "--older-than", "0", "--dry-run") == dry
        assert Pruned.model_validate(program.json("prune", "--older-than", "0")).is_dry_run
        assert len(program.json("workflows")) == 1
        assert program.text("prune", "--older-than", "0", "--yes") == f"deleted {what}"
        assert program.json("workflows") == []

    def test_a_list_that_was_cut_shows_its_limit(self, fake: FakeWorker, program: Inside) -> None:
        for _ in range(2):
            fake.run(*fake.start(echo.s(1)).dispatches)
        assert "; there are more, beyond --limit\n" in program.text("prune", "--older-than", "0", "--limit", "1")

    @pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5h", 5_400), ("15 m", 900), ("30d", 2_592_000)])
    def test_durations(self, text: str, seconds: float, program: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        nothing = Pruned(workflows=0, jobs=0, dead_letters=0, limits=0, is_dry_run=True, is_complete=True)
        monkeypatch.setattr(
            "agentq.operations.pruning.prune", lambda ledger, **given: seen.append(given["older_than"]) or nothing
        )
        program.text("prune", "--older-than", text)
        assert seen == [seconds]

    @pytest.mark.parametrize("text", ["", "-5", "3x", "d", "1 week"])
    def test_an_invalid_duration_is_refused(self, text: str, program: Inside) -> None:
        ended = program.run("prune", f"--older-than={text}")
        assert ended.returncode == 2
        assert "write it as 90s, 15m, 12h or 30d." in " ".join(ended.stderr.split())

    def test_the_age_must_be_said(self, program: Inside) -> None:
        assert program.run("prune").returncode == 2


def test_a_noun_alone_lists(cli_ledger: CliLedger) -> None:
    for noun in ("workflows", "jobs", "dead-letters", "queues", "workers"):
        assert len(cli_ledger.program.json(noun)) == len(cli_ledger.program.json(noun, "list"))
    (workflow,) = cli_ledger.program.json("workflows", "--key", "fan-1")
    assert workflow["id"] == cli_ledger.succeeded.id


def test_an_unknown_command_is_an_error(cli_ledger: CliLedger) -> None:
    ended = cli_ledger.program.run("jobs", "lst")
    assert ended.returncode == 2
    assert "No such command 'lst'" in ended.stderr
