"""``agentq schedules``: what is printed and changed, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentq.cli import schedules as cli
from agentq.ledger.db.session import Ledger
from agentq.operations import schedules
from agentq.operations.schemas import BackfilledSchedule, Schedule, ScheduleDetails, TriggeredSchedule
from tests.cli.program import Inside
from tests.support.scheduled import Scheduler


@pytest.fixture
def one(ledger_url: str) -> Iterator[Scheduler]:
    """A caretaker of schedules."""
    ledger = Ledger(ledger_url)
    yield Scheduler(ledger)
    ledger.close()


@pytest.fixture
def program(ledger_url: str, tmp_path: Path) -> Inside:
    """The program on the ledger of the caretaker."""
    return Inside(tmp_path, {"AGENTQ_LEDGER": ledger_url, "LOGNAME": "ana"})


def test_without_a_schedule_the_list_says_how_one_comes(one: Scheduler, program: Inside) -> None:
    assert program.text("schedules").startswith("no schedules: declare one in code with agentq.schedule(")


def test_as_json_it_is_the_read_model(one: Scheduler, program: Inside) -> None:
    one.declare()
    assert [Schedule.model_validate(row) for row in program.json("schedules")] == schedules.list_(one.ledger)
    shown = ScheduleDetails.model_validate(program.json("schedules", "show", "digest"))
    assert shown.changes == schedules.get(one.ledger, "digest").changes
    done = TriggeredSchedule.model_validate(program.json("schedules", "trigger", "digest"))
    assert done.workflow_id == one.schedule().last_workflow_id
    times = ("--from", "2026-01-01", "--to", "2026-01-01T00:05")
    filled = BackfilledSchedule.model_validate(program.json("schedules", "backfill", "digest", *times))
    assert (len(filled.ticks), filled.started) == (6, 6)


def test_for_people_it_shows_times_counts_pause_and_history(one: Scheduler, program: Inside) -> None:
    one.declare(cron="30 2 * * *", timezone="Europe/Berlin")
    said = program.text("schedules", "pause", "digest", "--until", "2099-12-24", "--reason", "holi\ndays")
    assert said.startswith("schedule digest is paused until 2099-12-24 00:00:00 UTC")
    header, line = program.text("schedules", "list").splitlines()
    assert tuple(header.split()) == cli._COLUMNS
    assert line.split()[:2] == ["digest", "acme"]
    assert "30 2 * * * Europe/Berlin" in line
    assert line.endswith("holi days") or "by ana" in line
    head, coming, changes = program.text("schedules", "show", "digest").split("\n\n")
    assert "catch up  1 of the last 24 h" in head
    assert len(coming.splitlines()) == schedules.MOST_COMING + 1
    assert changes.splitlines()[2].split()[-5:-4] or "pause" in changes
    assert program.text("schedules", "resume", "digest").strip() == "schedule digest goes on"
    assert "started workflow" in program.text("schedules", "trigger", "digest")
    assert program.text("schedules", "remove", "digest").strip() == "schedule digest is removed"
