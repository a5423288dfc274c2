"""Rows that only a newer release writes: a worker of this one lives on, runs nothing wrong, and logs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from celery import chord, group
from sqlalchemy import make_url

from agentq import each
from agentq.exceptions import StepFailed
from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.runtime.workflow import Workflow
from tests.runtime.stack import Stack, stack
from tests.support import Broker, Gates, eventually
from tests.support.steps import add, count, fail, later, meet, total

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
SETTINGS = {"lease": 10, "redispatch_after": 1}
WORDS = ("job_kind", "job_status", "workflow_status")


@contextmanager
def newer_schema(ledger_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the ledger, which takes any word as a kind or a status meanwhile."""
    url = make_url(ledger_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        checks = {}
        for word in WORDS:
            query = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s"
            (checks[word],) = connection.execute(query, [f"agentq_{word}_known"]).fetchone() or ("",)
            connection.execute(f"ALTER DOMAIN agentq_{word} DROP CONSTRAINT agentq_{word}_known")
        try:
            yield connection
        finally:
            connection.execute("DELETE FROM agentq_workflows")
            for word, check in checks.items():
                connection.execute(f"ALTER DOMAIN agentq_{word} ADD CONSTRAINT agentq_{word}_known {check}")


class Newer:
    """Starts workflows, and lets a newer release have written them while their first step runs."""

    def __init__(self, at: Stack, sql: psycopg.Connection[Any], gates: Gates) -> None:
        self.at, self.sql, self.gates = at, sql, gates
        self.first = meet.s([1, 2], str(gates.folder), "first")

    def start(self, canvas: Any, update: str, *values: Any, **options: Any) -> Workflow[Any]:
        """*update* is of the rows of its workflow, from the table on."""
        reached = self.gates.reached("first")
        workflow = self.at.agentq.start(canvas, **options)
        self.gates.await_reached("first", reached + 1)
        assert self.sql.execute(f"UPDATE {update} %s", [*values, workflow.id]).rowcount == 1
        return workflow

    def column(self, workflow: Workflow[Any], step: str, column: str) -> Any:
        query = f"SELECT {column} FROM agentq_jobs WHERE workflow_id = %s AND step = %s"  # noqa: S608
        found = self.sql.execute(query, [workflow.id, step]).fetchone()
        assert found is not None
        return found[0]

    def goes_on(self) -> None:
        """The worker lives, and runs what this release has written."""
        assert self.at.agentq.start(add.s(1, 2)).result(20) == 3
        assert "does not go well" not in self.at.worker.log()

    def says(self, what: str) -> None:
        eventually(lambda: what in self.at.worker.log(), 20, what=f"a word about {what}")


@pytest.fixture
def newer(redis_broker: Broker, ledger_url: str, gates: Gates) -> Iterator[Newer]:
    with (
        newer_schema(ledger_url) as sql,
        stack(redis_broker, ledger_url, settings=SETTINGS, concurrency=3) as at,
    ):
        yield Newer(at, sql, gates)


def test_jobs_of_kinds_and_statuses_of_a_newer_release_are_left_to_it(newer: Newer) -> None:
    counted = count.s(str(newer.gates.folder), "ran")
    kind = newer.start(
        newer.first | counted,
        "agentq_jobs SET kind = 'gate' WHERE step = %s AND workflow_id =",
        count.name,
    )
    status = newer.start(
        newer.first | counted,
        "agentq_jobs SET status = 'paused' WHERE step = %s AND workflow_id =",
        count.name,
    )
    newer.gates.open("first")
    newer.says(f"[{count.name} job={newer.column(kind, count.name, 'id')}] is of kind 'gate', which only a newer")
    eventually(lambda: newer.column(status, meet.name, "status") == "succeeded", 20, what="an end")
    newer.goes_on()
    assert newer.column(kind, count.name, "status") == "queued"
    assert newer.column(status, count.name, "status") == "paused"
    assert newer.gates.reached("ran") == 0
    assert newer.at.worker.log().count("only a newer release") == 1


BRANCH = """arguments = replace(arguments, '"kind":"step"', '"kind":"gate"') WHERE kind = 'each'"""
UNREADABLE = "the canvas has a part of kind 'gate', which only a newer release of agentq knows"


def test_before_a_branch_that_only_a_newer_release_can_read_a_step_is_a_dead_letter_to_be_replayed(
    newer: Newer,
) -> None:
    workflow = newer.start(newer.first | each(later.s()), f"agentq_jobs SET {BRANCH} AND workflow_id =")
    newer.gates.open("first")
    with pytest.raises(StepFailed, match=UNREADABLE):
        workflow.result(20)
    newer.says(UNREADABLE)
    newer.goes_on()
    # As if a worker of the newer release were there.
    newer.sql.execute("UPDATE agentq_jobs SET arguments = replace(arguments, 'gate', 'step') WHERE kind = 'each'")
    (letter,) = dead_letters.list_(newer.at.agentq.ledger, DeadLetterFilter())
    dead_letters.replay(newer.at.agentq.ledger, str(letter.id))
    assert workflow.result(20) == [1, 2]


def test_a_branch_of_a_newer_release_without_a_job_to_repeat_fails_and_stalls_no_job(newer: Newer) -> None:
    parts = group(add.s(1, 2), newer.first | fail.s().set(on_failure="continue"))
    workflow = newer.start(parts | each(later.s()), f"agentq_jobs SET {BRANCH} AND workflow_id =")
    newer.gates.open("first")
    with pytest.raises(StepFailed, match=UNREADABLE):
        workflow.result(20)
    newer.goes_on()


def test_a_need_of_a_newer_release_is_not_met_and_stalls_no_job(newer: Newer) -> None:
    parts = group(newer.first, fail.s("no").set(on_failure="continue"))
    workflow = newer.start(
        chord(parts, total.s().set(needs="any")),
        "agentq_jobs SET needs = 'most' WHERE kind = 'join' AND workflow_id =",
    )
    newer.gates.open("first")
    with pytest.raises(StepFailed, match="1 of its 2 members are missing, but it needs most"):
        workflow.result(20)
    newer.goes_on()


@pytest.mark.parametrize("change", [{"action": "delegate"}, {"schedule": {"kind": "tidal"}}, {"unless": "night"}])
def test_a_policy_that_only_a_newer_release_can_read_asks_a_person(newer: Newer, change: dict[str, Any]) -> None:
    workflow = newer.start(
        newer.first | fail.s(), "agentq_workflows SET reason = %s WHERE id =", "", retry="patient"
    )
    found = newer.sql.execute("SELECT policy FROM agentq_workflows").fetchone()
    assert found is not None
    policy = json.loads(found[0])
    policy["otherwise"] |= change
    newer.sql.execute("UPDATE agentq_workflows SET policy = %s", [json.dumps(policy)])
    newer.gates.open("first")
    with pytest.raises(StepFailed):
        workflow.result(20)
    newer.says(f"the kept policy of step {fail.name!r} cannot be read, so a person is to decide: ")
    (letter,) = dead_letters.list_(newer.at.agentq.ledger, DeadLetterFilter())
    assert letter.needs_person
