"""The audit finds each violation, by its own rule, and nothing in a ledger that is sound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text, update

from agentq.ledger.audit import audit, invariants
from agentq.ledger.audit.invariants import (
    attempts,
    cooldowns,
    dead_letters,
    events,
    graph,
    leases,
    limits,
    postponed,
    rates,
    schedules,
    workflows,
)
from agentq.ledger.audit.invariants.common import Invariant
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow
from agentq.operations import audit as operations
from tests.ledger import corruptions
from tests.ledger.busy_ledger import BusyLedger
from tests.ledger.corruptions import Spade
from tests.races.overlap import fakes
from tests.support import copied_ledger
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

NAMES = [invariant.name for invariant in invariants.ALL]


@pytest.fixture(scope="module")
def busy_ledger(ledger_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BusyLedger]:
    """A busy ledger that is sound, for all tests here: what they change is rolled back."""
    with copied_ledger(ledger_template, tmp_path_factory.mktemp("scene")) as url:
        ledger = Ledger(url)
        yield BusyLedger(ledger)
        ledger.close()


@pytest.fixture
def connection(busy_ledger: BusyLedger) -> Iterator[Connection]:
    """A transaction that no other process sees."""
    with busy_ledger.fake.ledger.engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
        if connection.dialect.name == "sqlite":
            connection.execute(text("PRAGMA ignore_check_constraints = 0"))


def test_a_busy_ledger_that_is_sound(busy_ledger: BusyLedger) -> None:
    report = operations.run(busy_ledger.fake.ledger)
    assert report.listed == []
    assert report.is_sound
    assert report.workflows > 15
    assert report.jobs > 40


@pytest.mark.parametrize("name", NAMES)
def test_a_violation_is_found_by_its_rule_and_by_no_other(
    connection: Connection, busy_ledger: BusyLedger, name: str
) -> None:
    getattr(corruptions, name)(Spade(connection, busy_ledger))
    found = audit.examine(connection).violations
    assert {violation.invariant.name for violation in found} == {name}, "\n".join(map(str, found))


@pytest.mark.parametrize("name", corruptions.FURTHER)
def test_the_audit_finds_jobs_that_nothing_will_move(
    connection: Connection, busy_ledger: BusyLedger, name: str
) -> None:
    corrupt, rules_of_it = corruptions.FURTHER[name]
    corrupt(Spade(connection, busy_ledger))
    found = audit.examine(connection).violations
    assert {violation.invariant.name for violation in found} == rules_of_it, "\n".join(map(str, found))
    assert all(violation.invariant.next_step for violation in found)


def test_every_invariant_is_tested() -> None:
    modules = (
        attempts,
        cooldowns,
        dead_letters,
        postponed,
        events,
        graph,
        leases,
        limits,
        rates,
        schedules,
        workflows,
    )
    written = {value.name for module in modules for value in vars(module).values() if isinstance(value, Invariant)}
    assert written == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_a_rule_says_what_is_wrong() -> None:
    assert [
        invariant.name for invariant in invariants.ALL if not invariant.text or invariant.text.endswith(".")
    ] == []


@pytest.mark.unsound
def test_many_violations_are_all_counted_and_some_listed(fake: FakeWorker) -> None:
    for _ in range(7):
        fake.start(add.s(1, 2))
    fake.ledger.write(lambda tx: tx.connection.execute(update(JobRow).values(dispatched_at=None)))
    report = operations.run(fake.ledger, most=3)
    assert (report.is_sound, report.violations, len(report.listed)) == (False, 7, 3)
    assert [(rest.rule, rest.more) for rest in report.unlisted] == [("never_claimed", 4)]


def test_the_audit_reads_one_snapshot(ledger_url: str) -> None:
    """A commit during the audit is seen whole or not at all; and the audit blocks no writer."""
    with fakes(ledger_url, 2) as (worker, reader):
        claimed = worker.begin(add.s(1, 2))

        def read(connection: Connection) -> audit.Audited:
            audit.take_snapshot(connection)
            before = audit.examine(connection)
            worker.succeed(claimed, 3)
            worker.start(add.s(1, 2))
            assert audit.examine(connection) == before
            return before

        assert reader.ledger.read(read).workflows == 1
        assert operations.run(reader.ledger).workflows == 2


def test_an_empty_ledger_is_sound(ledger: Ledger) -> None:
    assert operations.run(ledger).model_dump() == {
        "is_sound": True,
        "workflows": 0,
        "jobs": 0,
        "violations": 0,
        "listed": [],
        "unlisted": [],
    }
