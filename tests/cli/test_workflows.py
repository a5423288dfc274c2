"""``agentq workflows``: what is listed, shown and cancelled, for people and for programs."""

import pytest

from agentq.operations import workflows
from agentq.operations.schemas import WorkflowSummary
from agentq.states import WorkflowStatus
from tests.cli.conftest import CliLedger
from tests.support import steps


def ids(found: list[dict[str, str]]) -> list[str]:
    return [item["id"] for item in found]


def test_the_list_as_json_is_the_read_model(cli_ledger: CliLedger) -> None:
    listed = cli_ledger.program.json("workflows", "list", "--limit", "1000")
    known = workflows.list_(cli_ledger.ledger, workflows.WorkflowFilter(), limit=1000)
    assert [WorkflowSummary.model_validate(item) for item in listed] == known


def test_filters(cli_ledger: CliLedger) -> None:
    assert ids(cli_ledger.program.json("workflows", "list", "--status", "succeeded", "--tenant", "acme")) == [
        cli_ledger.succeeded.id
    ]
    assert ids(cli_ledger.program.json("workflows", "list", "--key", "fan-1")) == [cli_ledger.succeeded.id]
    assert ids(cli_ledger.program.json("workflows", "list", "--status", "failed")) == [cli_ledger.failed.id]
    assert len(cli_ledger.program.json("workflows", "list", "--limit", "2")) == 2
    assert cli_ledger.program.json("workflows", "list", "--tenant", "nobody") == []


def test_the_list_for_people_has_aligned_columns_and_ages(cli_ledger: CliLedger) -> None:
    header, *lines = cli_ledger.program.text("workflows", "list").splitlines()
    assert header.split() == ["ID", "STATUS", "STARTED", "TOOK", "TENANT", "KEY", "NAME", "ERROR"]
    (line,) = [line for line in lines if cli_ledger.succeeded.id in line]
    assert line[header.index("STATUS") :].startswith("succeeded ")
    assert " ago" in line[header.index("STARTED") : header.index("TOOK")]
    assert line[header.index("KEY") :].startswith("fan-1")
    assert cli_ledger.program.text("workflows", "list", "--key", "none") == "no workflows\n"


def test_the_statuses_to_choose_from_are_those_of_workflows(cli_ledger: CliLedger) -> None:
    ended = cli_ledger.program.run("workflows", "list", "--status", "queued")
    assert ended.returncode == 2
    assert all(f"'{status}'" in ended.stderr for status in WorkflowStatus)


@pytest.mark.parametrize("noun", ["workflows", "jobs"])
def test_a_list_may_begin_with_the_oldest_and_leave_out_the_young(cli_ledger: CliLedger, noun: str) -> None:
    newest = ids(cli_ledger.program.json(noun, "list", "--limit", "1000"))
    assert ids(cli_ledger.program.json(noun, "list", "--oldest-first", "--limit", "2")) == newest[::-1][:2]
    assert cli_ledger.program.json(noun, "list", "--older-than", "1d") == []
    assert ids(cli_ledger.program.json(noun, "list", "--older-than", "0s", "--limit", "1000")) == newest


def test_a_workflow_is_named_in_the_order_of_its_canvas(cli_ledger: CliLedger) -> None:
    assert cli_ledger.program.json("workflows", "list", "--key", "fan-1")[0]["name"] == "numbers, each(add), total"


@pytest.mark.parametrize("noun", ["workflow", "job"])
def test_a_cancel_stores_actor_and_reason_with_any_characters(cli_ledger: CliLedger, noun: str) -> None:
    doomed = cli_ledger.agentq.start(steps.add.s(1, 2).set(queue="nobody"))
    said = {"actor": "a\x00nn" * 99, "reason": "\ud800 x" * 9_999}
    cancelled = (
        doomed.cancel(**said) if noun == "workflow" else doomed.cancel_job(str(doomed.jobs()[0].id), **said)
    )
    assert cancelled
    for action in workflows.get(cli_ledger.ledger, doomed.id).actions:
        assert len(action.actor) == 255
        assert 4_000 <= len(action.reason) < 4_400, "a job's shows the job, too"
        assert not {"\x00", "\ud800"} & set(action.actor + action.reason)


def test_show_draws_the_tree_of_jobs(cli_ledger: CliLedger) -> None:
    shown = cli_ledger.program.text("workflows", "show", cli_ledger.succeeded.id)
    assert f"workflow  {cli_ledger.succeeded.id}\n" in shown
    assert "status    succeeded\n" in shown
    assert "each (3 branches)" in shown
    tree = shown.split("\njobs\n")[1].splitlines()
    (first,) = [line for line in tree if "steps.numbers 3" in line]
    assert "succeeded  attempts 1 of 5 " in first
    assert "@test" in first, "the worker's name"


def test_show_prints_errors_and_conditions_of_jobs(cli_ledger: CliLedger) -> None:
    failed = cli_ledger.program.text("workflows", "show", cli_ledger.failed.id)
    (job, _) = cli_ledger.failed.jobs()
    assert f"{job.id}  tests.support.steps.fail  ValueError: no" in failed
    assert "\x1b" not in failed, "what steps raise must not reach the terminal as commands"
    waits = "waits for a free worker on queue 'nobody'\n"
    assert waits in cli_ledger.program.text("workflows", "show", cli_ledger.queued.id)


def test_show_as_json_is_the_read_model(cli_ledger: CliLedger) -> None:
    shown = cli_ledger.program.json("workflows", "show", cli_ledger.retried.id)
    assert shown == workflows.get(cli_ledger.ledger, cli_ledger.retried.id).model_dump(mode="json")
    assert [attempt["outcome"] for attempt in shown["jobs"][0]["attempts"]] == ["retried", "succeeded"]


def test_cancel_is_noted_with_its_reason_and_works_once(cli_ledger: CliLedger) -> None:
    doomed = cli_ledger.agentq.start(steps.add.s(1, 2).set(queue="nobody"), key="doomed")
    said = cli_ledger.program.text("workflows", "cancel", doomed.id, "--reason", "wrong folder")
    assert said == f"cancelled workflow {doomed.id}: add\n"
    shown = cli_ledger.program.text("workflows", "show", doomed.id)
    assert "status    cancelled\n" in shown
    assert "wrong folder" in shown.split("\nactions\n")[1]
    again = cli_ledger.program.error("workflows", "cancel", doomed.id)
    assert again == f"workflow {doomed.id} is cancelled, but must be running for this. Nothing was changed."


def test_a_workflow_is_named_by_the_start_of_its_id_or_its_key(cli_ledger: CliLedger) -> None:
    whole = cli_ledger.program.json("workflows", "show", cli_ledger.succeeded.id)
    start = next(n for n in range(4, 36) if sum(i[:n] == whole["id"][:n] for i in everything(cli_ledger)) == 1)
    assert cli_ledger.program.json("workflows", "show", whole["id"][:start]) == whole
    assert cli_ledger.program.json("workflows", "show", "key:fan-1") == whole
    several = cli_ledger.program.error("workflows", "show", whole["id"][:4])
    assert "fits more than one workflow" in several
    assert whole["id"] in several or ", …" in several
    assert "no workflow fits 'key:nothing'" in cli_ledger.program.error("workflows", "show", "key:nothing")
    assert cli_ledger.program.json("jobs", "list", "--workflow", "key:fan-1") != []


def everything(cli_ledger: CliLedger) -> list[str]:
    return ids(cli_ledger.program.json("workflows", "list", "--limit", "1000"))


def test_an_id_that_is_unknown_is_refused(cli_ledger: CliLedger) -> None:
    unknown = "019a0000-0000-7000-8000-000000000000"
    for command in ("show", "cancel"):
        assert f"no workflow has the id {unknown}" in cli_ledger.program.error("workflows", command, unknown)
        assert "'xyz' is no workflow id" in cli_ledger.program.error("workflows", command, "xyz")
