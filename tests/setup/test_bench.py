"""scripts/bench: what it measures is there, what it compares is right, and its ledgers with a past are sound."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

import pytest
from benchmarks import comparison, filling
from benchmarks.workloads import WORKLOADS
from celery import chain
from sqlalchemy import func, select

from agentq.ledger.db.session import Ledger
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.states import JobStatus
from tests.support import Broker, Worker, client
from tests.support.steps import add


def test_every_workload_has_its_letter() -> None:
    assert "".join(WORKLOADS) == ascii_lowercase[: len(WORKLOADS)] == "abcdefghijklmnopqr"


@pytest.mark.parametrize("key", WORKLOADS)
def test_the_contenders_of_a_workload_do_as_many_jobs(key: str) -> None:
    jobs = [contender.jobs for contender in WORKLOADS[key].contenders]
    assert len(jobs) in (1, 2)
    assert all(number is None for number in jobs) or max(jobs) <= 1.01 * min(jobs)


def test_two_contenders_are_compared_side_by_side() -> None:
    rows = comparison.side_by_side([{"total": 3.0}, {"total": 2.0}])
    assert rows == {"total": (3.0, 2.0, 1.5)}


def test_later_figures_are_compared_with_the_first_of_their_kind() -> None:
    figures = {"at 1": 2.0, "at 1, CPU": 1.0, "at 10,000": 3.0, "at 10,000, CPU": 1.0}
    rows = comparison.beside_first([figures])
    assert rows == {"at 10,000": (3.0, 2.0, 1.5), "at 10,000, CPU": (1.0, 1.0, 1.0)}


def test_a_longer_way_is_counted_in_round_trips() -> None:
    far, near = {"SELECT 1": 1.25, "hop": 4.5}, {"SELECT 1": 0.25, "hop": 2.0}
    assert comparison.beyond_round_trip([far, near])["hop"].ratio == 2.5


def test_a_copied_past_is_a_sound_ledger(redis_broker: Broker, ledger_url: str, ledger: Ledger) -> None:
    copies = 30
    with client(redis_broker, ledger_url) as agentq, Worker(redis_broker, ledger_url):
        assert agentq.start(chain(add.s(0, 1), add.s(1), add.s(1))).result(20) == 3
    filling.multiply(ledger, copies)

    def count(row: Any) -> int | None:
        return ledger.read(lambda connection: connection.scalar(select(func.count()).select_from(row)))

    done = select(JobRow).where(JobRow.status == JobStatus.SUCCEEDED).subquery()
    assert [count(row) for row in (WorkflowRow, done, AttemptRow)] == [copies + 1, *(2 * [3 * (copies + 1)])]
