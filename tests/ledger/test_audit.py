"""The audit finds each violation, by its own rule, and nothing in a ledger that is sound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text, update

from agentq.ledger.audit import audit, invariants
from agentq.ledger.audit.invariants import attempts, dead_letters, events, graph, leases, workflows
from agentq.ledger.audit.invariants.common import Rule
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import JobRow
from agentq.operations import audit as operations
from tests.ledger import planted
from tests.ledger.planted import Spade
from tests.ledger.scene import Scene
from tests.races.overlap import players
from tests.support import copied_ledger
from tests.support.player import Player
from tests.support.steps import add

NAMES = [rule.name for rule in invariants.ALL]


@pytest.fixture(scope="module")
def scene(ledger_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A busy ledger that is sound, for all tests here: what they change is rolled back."""
    with copied_ledger(ledger_template, tmp_path_factory.mktemp("scene")) as url:
        ledger = Ledger(url)
        yield Scene(ledger)
        ledger.close()


@pytest.fixture
def connection(scene: Scene) -> Iterator[Connection]:
    """A transaction that nobody else sees."""
    with scene.player.ledger.engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()
        if connection.dialect.name == "sqlite":
            connection.execute(text("PRAGMA ignore_check_constraints = 0"))


def test_a_busy_ledger_that_is_sound(scene: Scene) -> None:
    report = operations.run(scene.player.ledger)
    assert report.listed == []
    assert report.is_sound
    assert report.workflows > 15
    assert report.jobs > 40


@pytest.mark.parametrize("name", NAMES)
def test_a_violation_is_found_by_its_rule_and_by_no_other(connection: Connection, scene: Scene, name: str) -> None:
    getattr(planted, name)(Spade(connection, scene))
    found = audit.examine(connection).violations
    assert {violation.rule.name for violation in found} == {name}, "\n".join(map(str, found))


@pytest.mark.parametrize("name", planted.FURTHER)
def test_what_nothing_will_ever_move_is_found(connection: Connection, scene: Scene, name: str) -> None:
    plant, rules_of_it = planted.FURTHER[name]
    plant(Spade(connection, scene))
    found = audit.examine(connection).violations
    assert {violation.rule.name for violation in found} == rules_of_it, "\n".join(map(str, found))
    assert all(violation.rule.next_step for violation in found)


def test_no_rule_is_left_out() -> None:
    modules = (attempts, dead_letters, events, graph, leases, workflows)
    written = {value.name for module in modules for value in vars(module).values() if isinstance(value, Rule)}
    assert written == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_a_rule_says_what_is_wrong() -> None:
    assert [rule.name for rule in invariants.ALL if not rule.text or rule.text.endswith(".")] == []


@pytest.mark.unsound
def test_of_many_violations_some_are_listed_and_all_are_counted(player: Player) -> None:
    for _ in range(7):
        player.start(add.s(1, 2))
    player.ledger.write(lambda tx: tx.connection.execute(update(JobRow).values(dispatched_at=None)))
    report = operations.run(player.ledger, most=3)
    assert (report.is_sound, report.violations, len(report.listed)) == (False, 7, 3)
    assert [(rest.rule, rest.more) for rest in report.unlisted] == [("never_claimed", 4)]


def test_the_audit_reads_one_moment(ledger_url: str) -> None:
    """What is committed while it reads is not half in and half out; and it holds no writer up."""
    with players(ledger_url, 2) as (worker, reader):
        held = worker.begin(add.s(1, 2))

        def read(connection: Connection) -> audit.Audited:
            audit.take_snapshot(connection)
            before = audit.examine(connection)
            worker.succeed(held, 3)
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
