"""Hand-over on every ledger: joins, each, each of nothing, each of each, ten thousand items."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from celery import Signature, chain, chord, group
from sqlalchemy import String, cast, update

from agentq import each, step
from agentq.exceptions import StepFailed
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, numbers, total


@step
def lists(count: int) -> list[list[int]]:
    """Lists of 0, 1, … numbers."""
    return [list(range(length)) for length in range(count)]


@step
def double(x: int) -> int:
    return 2 * x


CANVASES: list[tuple[str, Signature, Any]] = [
    ("chain", add.s(1, 2) | double.s() | double.s(), 12),
    ("group", group(add.s(1, 2), add.s(3, 4)), [3, 7]),
    ("join", group(add.s(1, 2), add.s(3, 4)) | total.s(), 10),
    ("join of joins", group(numbers.s(3) | group(total.s(), total.s()), add.s(1, 1)) | echo.s(), [[3, 3], 2]),
    ("join after join", chain(group(add.s(1, 2), add.s(3, 4)), group(total.s(), total.s()), total.s()), 20),
    ("chord in a header", chord([chord([add.s(1, 2)], total.s()), add.s(3, 4)], total.s()), 10),
    ("each", numbers.s(4) | each(double.s()), [0, 2, 4, 6]),
    ("each, then fan in", numbers.s(4) | each(double.s()) | total.s(), 12),
    ("each of a chain", numbers.s(3) | each(double.s() | double.s()), [0, 4, 8]),
    ("each of a group", numbers.s(2) | each(group(add.s(1), double.s())), [[1, 0], [2, 2]]),
    ("each of a diamond", numbers.s(2) | each(group(add.s(1), double.s()) | total.s()) | total.s(), 5),
    ("each of nothing", numbers.s(0) | each(double.s()), []),
    ("each of nothing, then fan in", numbers.s(0) | each(double.s()) | total.s(), 0),
    ("each after a group", group(add.s(1, 2), add.s(3, 4)) | each(double.s()), [6, 14]),
    ("each after each", numbers.s(3) | each(double.s()) | each(add.s(1)), [1, 3, 5]),
    ("each of each", lists.s(4) | each(each(double.s())), [[], [0], [0, 2], [0, 2, 4]]),
    ("each of each, then fan in", lists.s(4) | each(each(double.s()) | total.s()) | total.s(), 8),
    ("each within a branch", numbers.s(3) | each(numbers.s() | each(double.s())), [[], [0], [0, 2]]),
    ("each of an immutable step", numbers.s(2) | each(add.si(1, 1)), [2, 2]),
    ("each beside a step", numbers.s(2) | group(each(double.s()), total.s()), [[0, 2], 1]),
    ("each of empty groups", numbers.s(2) | each(double.s() | group([group([]), group([])])), [[], []]),
]


@pytest.mark.parametrize(("canvas", "result"), [case[1:] for case in CANVASES], ids=[case[0] for case in CANVASES])
@pytest.mark.parametrize("newest_first", [False, True], ids=["in order", "newest first"])
def test_a_canvas_gives_its_result(fake: FakeWorker, canvas: Signature, result: Any, newest_first: bool) -> None:
    started = fake.start(canvas)
    count = fake.run(*started.dispatches, newest_first=newest_first)
    found = fake.result(started.workflow_id)
    assert (found["args"][0] if isinstance(found, dict) else found) == result
    jobs = fake.jobs(started.workflow_id)
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
    assert {job.remaining for job in jobs} == {0}
    assert count == sum(job.kind == "step" for job in jobs)


@pytest.mark.parametrize("value", [None, 5, "text", {"a": 1}], ids=repr)
def test_each_of_what_is_no_list_fails_and_says_what_it_got(fake: FakeWorker, value: Any) -> None:
    claimed = fake.begin(echo.s() | each(double.s()) | total.s())
    assert fake.succeed(claimed, value).accepted
    with pytest.raises(StepFailed, match=f"needs a list.*but got {type(value).__name__}"):
        fake.result(claimed.workflow_id)


def test_each_of_each_fails_on_the_one_item_that_is_no_list(fake: FakeWorker) -> None:
    claimed = fake.begin(echo.s() | each(each(double.s())))
    dispatches = fake.succeed(claimed, [[1], 2, [3]]).dispatches
    assert fake.workflow(claimed.workflow_id).status == WorkflowStatus.FAILED
    assert fake.run(*dispatches) == 2


@pytest.mark.unsound
def test_ten_thousand_items(fake: FakeWorker) -> None:
    count = 10_000
    claimed = fake.begin(numbers.s(count) | each(double.s()) | total.s())
    began = time.monotonic()
    dispatches = fake.succeed(claimed, list(range(count))).dispatches
    assert time.monotonic() - began < 20
    assert len({dispatch.job_id for dispatch in dispatches}) == count
    branches = [job for job in fake.jobs(claimed.workflow_id) if job.step == double.name]
    assert [json.loads(job.arguments)[0][0] for job in sorted(branches, key=_position)] == list(range(count))

    _finish_all_but_last(fake, branches)
    (end,) = fake.succeed(fake.take(dispatches[-1]), 2 * (count - 1)).dispatches
    inputs = fake.take(end).inputs
    assert inputs is not None
    assert json.loads(inputs) == [2 * number for number in range(count)]


def _position(job: Any) -> int:
    return int(job.position)


def _finish_all_but_last(fake: FakeWorker, branches: list[Any]) -> None:
    """Write at once what the claims, records and hand-overs of all branches but the last one lead to."""
    each_id = branches[0].join_id
    finished = (
        update(JobRow)
        .where(JobRow.join_id == each_id, JobRow.position < len(branches) - 1)
        .values(status=JobStatus.SUCCEEDED, finished_at=now(), result=cast(2 * JobRow.position, String))
    )

    def write(tx: Transaction) -> None:
        tx.connection.execute(finished)
        tx.connection.execute(update(JobRow).where(JobRow.id == each_id).values(remaining=1))

    fake.ledger.write(write)
