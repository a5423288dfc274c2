"""``agentq jobs``: what is listed and shown, for people and for programs."""

from pathlib import Path

from agentq.ledger.db.session import Ledger
from agentq.operations import jobs
from agentq.operations.schemas import JobSummary
from agentq.outcomes import Failure, RetryLater
from agentq.states import JobStatus
from tests.cli.conftest import CliLedger
from tests.cli.program import Inside
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

BUSY = Failure(
    "rate_limit",
    "openai.RateLimitError",
    "slow down",
    provider="openai",
    status=429,
    code="rate_limit_exceeded",
    request_id="req-7",
)
WHY = "rate_limit: deferred, as the provider asked (deferral 1 of 50)"


def test_the_list_as_json_is_the_read_model(cli_ledger: CliLedger) -> None:
    listed = cli_ledger.program.json("jobs", "list", "--limit", "1000")
    known = jobs.list_(cli_ledger.ledger, jobs.JobFilter(), limit=1000)
    assert [JobSummary.model_validate(item) for item in listed] == known


def test_filters(cli_ledger: CliLedger) -> None:
    of_workflow = cli_ledger.program.json("jobs", "list", "--workflow", cli_ledger.succeeded.id)
    assert sorted(job["step"].rpartition(".")[2] for job in of_workflow) == [
        "add",
        "add",
        "add",
        "numbers",
        "total",
    ]
    adds = cli_ledger.program.json("jobs", "list", "--step", "tests.support.steps.add", "--status", "queued")
    assert [job["workflow_id"] for job in adds] == [cli_ledger.queued.id]
    assert {job["tenant"] for job in cli_ledger.program.json("jobs", "list", "--tenant", "acme")} == {"acme"}
    assert len(cli_ledger.program.json("jobs", "list", "--limit", "1")) == 1


def test_the_list_for_people_says_what_keeps_each_job(cli_ledger: CliLedger) -> None:
    header, *lines = cli_ledger.program.text("jobs", "list").splitlines()
    assert header.split() == ["ID", "STATUS", "MADE", "TOOK", "ATTEMPTS", "QUEUE", "STEP", "NOTE"]
    notes = {line[:36]: line[header.index("NOTE") :] for line in lines}
    assert notes[str(cli_ledger.queued.jobs()[0].id)] == "waits for a free worker on queue 'nobody'"
    assert notes[str(cli_ledger.failed.jobs()[0].id)].startswith("ValueError: no")
    assert cli_ledger.program.text("jobs", "list", "--step", "none") == "no jobs\n"


def test_cancel_ends_a_job_and_what_needs_it_and_works_once(cli_ledger: CliLedger) -> None:
    doomed = cli_ledger.agentq.start(add.s(1, 2).set(queue="nobody") | add.s(3))
    job_id = str(doomed.jobs()[1].id)
    said = cli_ledger.program.text("jobs", "cancel", job_id, "--reason", "not needed")
    assert said == f"cancelled job {job_id} of step {add.name}\n"
    assert [job.status for job in doomed.jobs()] == [JobStatus.CANCELLED] * 2
    assert "not needed" in cli_ledger.program.text("workflows", "show", doomed.id).split("\nactions\n")[1]
    assert f"job {job_id} is cancelled, but must be" in cli_ledger.program.error("jobs", "cancel", job_id)
    unknown = "019a0000-0000-7000-8000-000000000000"
    assert f"no job has the id {unknown}" in cli_ledger.program.error("jobs", "cancel", unknown)


def test_jobs_are_moved_by_id_or_by_what_the_options_name(cli_ledger: CliLedger) -> None:
    waiting = [cli_ledger.agentq.start(add.s(1, 2).set(queue="shut")) for _ in range(3)]
    first, *others = [str(workflow.jobs()[0].id) for workflow in waiting]
    said = cli_ledger.program.text("jobs", "move", "--queue", "dark", first, "--reason", "no worker there")
    assert said == f"moved job {first} of step {add.name} to queue dark\n"
    shown = cli_ledger.program.text("workflows", "show", waiting[0].id).split("\nactions\n")[1]
    assert "move job" in shown
    assert "no worker there" in shown
    planned = cli_ledger.program.text(
        "jobs", "move", "--queue", "dark", "--all", "--from-queue", "shut", "--dry-run"
    )
    assert planned.startswith("would move 2 jobs\n")
    moved = cli_ledger.program.json("jobs", "move", "--queue", "dark", "--all", "--from-queue", "shut", "--yes")
    assert sorted(job["id"] for job in moved["done"]) == sorted(others)
    assert {workflow.jobs()[0].queue for workflow in waiting} == {"dark"}
    done = str(cli_ledger.succeeded.jobs()[0].id)
    assert "It has ended" in cli_ledger.program.error("jobs", "move", "--queue", "dark", done)
    assert cli_ledger.program.run("jobs", "move", "--queue", "dark").returncode == 2
    assert cli_ledger.program.run("jobs", "move", first).returncode == 2
    for workflow in waiting:
        workflow.cancel()


def test_the_statuses_to_choose_from_are_those_of_jobs(cli_ledger: CliLedger) -> None:
    ended = cli_ledger.program.run("jobs", "list", "--status", "done")
    assert ended.returncode == 2
    assert all(f"'{status}'" in ended.stderr for status in JobStatus)


def test_show_masks_secrets(cli_ledger: CliLedger) -> None:
    (job,) = cli_ledger.secret.jobs()
    shown = cli_ledger.program.text("jobs", "show", str(job.id))
    assert 'arguments  ["plain"]\n' in shown
    assert 'keywords   {"api_key": "***"}\n' in shown
    assert "sk-0123" not in shown
    assert "sk-0123" not in str(cli_ledger.program.json("jobs", "show", str(job.id)))


def test_show_prints_every_attempt_with_its_error(cli_ledger: CliLedger) -> None:
    (job,) = cli_ledger.retried.jobs()
    first, second = cli_ledger.program.text("jobs", "show", str(job.id)).split("\nattempt ")[1:]
    assert first.startswith("1: retried, after ")
    assert "ConnectionError: failure 1 of 1" in first
    assert 'raise ConnectionError(f"failure {ctx.attempt} of {failures}")' in first, "the traceback"
    assert second.startswith("2: succeeded, after ")
    assert "@test" in second, "the worker's name"


def test_show_as_json_is_the_read_model(cli_ledger: CliLedger) -> None:
    (job,) = cli_ledger.retried.jobs()
    assert cli_ledger.program.json("jobs", "show", str(job.id)) == job.model_dump(mode="json")


def test_an_id_that_is_unknown_or_of_several_is_refused(cli_ledger: CliLedger) -> None:
    unknown = "019a0000-0000-7000-8000-000000000000"
    assert f"no job has the id {unknown}" in cli_ledger.program.error("jobs", "show", unknown)
    assert "is no job id" in cli_ledger.program.error("jobs", "show", "xyz")
    whole = str(cli_ledger.retried.jobs()[0].id)
    assert "fits more than one job: " in cli_ledger.program.error("jobs", "show", whole[:4])
    assert cli_ledger.program.json("jobs", "show", whole[:35])["id"] == whole


def test_show_prints_the_time_and_reason_of_the_next_try(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    fake, program = FakeWorker(ledger), Inside(tmp_path, {"AGENTQ_LEDGER": ledger_url})
    claimed = fake.begin(add.s(1, 2))
    fake.record(claimed, RetryLater(BUSY, 3600, WHY, burns_attempt=False))
    shown = program.text("jobs", "show", str(claimed.job_id))
    due = jobs.get(ledger, str(claimed.job_id)).due_at
    assert f"its time, {due:%Y-%m-%d %H:%M:%S} UTC ({WHY})\n" in shown
    assert f"{due:%Y-%m-%d %H:%M:%S} UTC, in " in shown
    assert f"attempts   0 of {claimed.max_attempts}, 1 more at no cost\n" in shown
    assert "deferrals  1, 1 h in all, at no cost\n" in shown
    assert "  openai.RateLimitError: slow down\n" in shown
    assert "  provider openai, status 429, code rate_limit_exceeded, request req-7" in shown
    shown = program.json("jobs", "show", str(claimed.job_id))
    assert (shown["due_reason"], shown["deferrals"], shown["deferred"]) == (WHY, 1, 3600)
    assert f"({WHY[:20]}" in program.text("jobs", "list", "--status", "scheduled")


def test_show_of_what_never_waited_has_no_line_for_it(cli_ledger: CliLedger) -> None:
    shown = cli_ledger.program.text("jobs", "show", str(cli_ledger.succeeded.jobs()[0].id))
    assert not any(line.startswith(("due ", "deferrals ")) for line in shown.splitlines())
