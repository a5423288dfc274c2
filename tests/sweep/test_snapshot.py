"""A snapshot of a ledger is what a crash would leave, and one that differs from a real crash is found out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow
from tests.sweep import world
from tests.sweep.diary import Diary
from tests.sweep.places import Place, open_place
from tests.sweep.scenario import REFERENCE
from tests.sweep.snapshot import describe, differences
from tests.sweep.steps import never

_JOBS = select(func.count()).select_from(JobRow)


@pytest.fixture
def place(database: str) -> Iterator[Place]:
    """A ledger with the jobs of a dead worker."""
    with open_place(database, REFERENCE) as place:
        yield place


def _describe(place: Place, folder: Path) -> list[str]:
    diary = Diary(folder)
    diary.clear()
    with place.engine.begin() as connection:
        return describe(connection, diary)


def test_a_snapshot_has_what_is_committed_and_not_what_a_transaction_has_written_so_far(place: Place) -> None:
    with place.engine.begin() as connection:
        committed = connection.scalar(_JOBS)
        connection.execute(delete(JobRow))
        amidst = place.snapshot()
    after = place.snapshot()
    for snapshot, jobs in ((amidst, committed), (after, 0), (amidst, committed)):
        place.restore(snapshot)
        with place.engine.begin() as connection:
            assert connection.scalar(_JOBS) == jobs
    assert committed


def test_what_is_put_back_is_as_old_as_it_was_when_its_times_are_made_later(place: Place) -> None:
    times = select(JobRow.created_at, JobRow.dispatched_at, JobRow.expires_at).order_by(JobRow.id)
    ledger = Ledger(place.url)
    before = ledger.read(lambda connection: connection.execute(times).all())
    world.make_later(ledger, 100.25)
    after = ledger.read(lambda connection: connection.execute(times).all())
    ledger.close()
    for old, new in zip(before, after, strict=True):
        seconds = [then and (later - then).total_seconds() for then, later in zip(old, new, strict=True)]
        assert {*seconds} <= {100.25, None}


def test_two_runs_that_did_the_same_have_one_description(place: Place, database: str, tmp_path: Path) -> None:
    with open_place(database, REFERENCE) as other:
        assert _describe(other, tmp_path) == _describe(place, tmp_path)


def test_a_crash_that_left_one_row_otherwise_is_told_from_the_snapshot(place: Place, tmp_path: Path) -> None:
    snapshot = _describe(place, tmp_path)
    with place.engine.begin() as connection:
        connection.execute(update(JobRow).where(JobRow.step == never.name).values(remaining=JobRow.remaining + 1))
    found = [re.sub("id [0-9]+", "ID", line) for line in differences(snapshot, _describe(place, tmp_path))]
    assert found[2:] == ["-agentq_jobs ID remaining: 0", "+agentq_jobs ID remaining: 1"]
