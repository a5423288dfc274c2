"""Two releases start their workers at one time, and declare other numbers: all those of one of them hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select

from agentq.ledger import moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import LimitRow
from agentq.policies.limits import Meters
from agentq.policies.limits_file import NO_FILE
from tests.races.overlap import Halting, concurrently, count_deadlocks, fakes
from tests.support.fake_worker import FakeWorker
from tests.support.faults import Fault, Phase, covers

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")

Numbers = Mapping[str, int]
NAMES = ("area", "wide", "wide-b")
KEYS = ("area", "wide", "wide-b", "wide:x")
"""The limits in the ledger: a key of one of the names stands behind the next name."""
BEFORE, OLDER, NEWER = (dict(zip(NAMES, numbers, strict=True)) for numbers in ((1, 1, 1), (2, 1, 2), (1, 3, 3)))
"""Each release leaves another limit as it was before."""
ROUNDS = 10


def redeclare(ledger: Ledger, numbers: Numbers) -> None:
    """Declare limits, in the order of *numbers*, as a worker that starts."""
    meters = {name: Meters(slots=number) for name, number in numbers.items()}
    ledger.write(lambda tx: moves.redeclare(tx, meters, NO_FILE))


def backwards(numbers: Numbers) -> Numbers:
    return dict(reversed(numbers.items()))


def reset(fake: FakeWorker) -> None:
    """Let the limits be in the ledger with the numbers of before."""
    fake.write(lambda tx: moves.declare(tx, {name: Meters(slots=1) for name in KEYS}))
    redeclare(fake.ledger, BEFORE)


def in_ledger(fake: FakeWorker) -> Numbers:
    """The slots of each limit; that of the key is compared too."""
    rows = fake.ledger.read(lambda connection: connection.execute(select(LimitRow.name, LimitRow.declared)).all())
    found = {row.name: row.declared for row in rows}
    assert found.pop("wide:x") == found["wide"]
    return found


@covers(Fault.CONFLICT, Phase.SWEEP)
@pytest.mark.parametrize("first", ["older", "newer"])
@pytest.mark.parametrize("order", [dict, backwards], ids=["in-one-order", "in-two-orders"])
def test_of_two_workers_whose_declarations_meet_after_any_lock_the_second_one_has_all_its_numbers(
    ledger_url: str, first: str, order: Callable[[Numbers], Numbers]
) -> None:
    one, two = (OLDER, NEWER) if first == "older" else (NEWER, OLDER)
    with fakes(ledger_url, 2) as (fake, other):
        halting, deadlocks = Halting(fake.ledger), count_deadlocks(fake.ledger, other.ledger)
        for after in count():
            reset(other)
            met = halting.meet(
                partial(redeclare, fake.ledger, one),
                partial(redeclare, other.ledger, order(two)),
                after,
            )
            if met is None:
                break
            assert (in_ledger(other), deadlocks) == (two, []), f"they met after {after} locks"
    assert after >= 3, "a declaration takes more locks than these"


@covers(Fault.CONFLICT, Phase.SWEEP)
def test_of_workers_that_declare_at_one_time_one_has_all_its_numbers(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as workers:
        deadlocks = count_deadlocks(*(fake.ledger for fake in workers))
        for _ in range(ROUNDS):
            reset(workers[0])
            declared = [OLDER, NEWER, backwards(OLDER), backwards(NEWER)]
            calls: list[Callable[[], Any]] = [
                partial(redeclare, fake.ledger, numbers) for fake, numbers in zip(workers, declared, strict=True)
            ]
            concurrently(calls)
            assert in_ledger(workers[0]) in (OLDER, NEWER)
        assert deadlocks == []
