"""Operators look at tenants, and say how many of their workflows may be open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentq.exceptions import BacklogFull, InvalidArguments, StateConflict
from agentq.ledger import tenants as ledger_tenants
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import tenants as queries
from agentq.operations import tenants
from agentq.operations.actors import operator_action
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

WHY = "a trial account"


@pytest.fixture
def fake(ledger_url: str) -> Iterator[FakeWorker]:
    """A worker on the ledger."""
    ledger = Ledger(ledger_url)
    yield FakeWorker(ledger)
    ledger.close()


def test_a_change_holds_from_the_next_start_on_and_is_kept_with_who_and_why(fake: FakeWorker) -> None:
    change = tenants.set_max_open(fake.ledger, "acme", 1, actor="ana", reason=WHY)
    assert (change.tenant, change.before, change.after, change.actor, change.reason) == (
        *("acme", None, 1, "ana", WHY),
    )
    fake.start(add.s(1, 2))
    with pytest.raises(BacklogFull):
        fake.start(add.s(1, 2))
    tenants.set_max_open(fake.ledger, "acme", 2, actor="bob")
    fake.start(add.s(1, 2))
    cleared = tenants.clear_max_open(fake.ledger, "acme", actor="ana", reason="as agreed")
    assert (cleared.before, cleared.after) == (2, None)
    fake.start(add.s(1, 2))
    shown = tenants.get(fake.ledger, "acme")
    assert (shown.weight, shown.max_open, shown.open, shown.is_capped) == (1, None, 3, False)
    assert [(one.before, one.after, one.actor, one.reason) for one in shown.changes] == [
        (2, None, "ana", "as agreed"),
        (1, 2, "bob", "no reason given"),
        (None, 1, "ana", WHY),
    ]


def test_a_change_whose_commit_got_no_answer_is_one_change(fake: FakeWorker) -> None:
    action = operator_action("ana", WHY)
    for _ in range(2):
        fake.ledger.write(lambda tx: ledger_tenants.set_max_open(tx, "acme", 1, **action))
    assert len(tenants.get(fake.ledger, "acme").changes) == 1


def test_a_change_of_the_weight_is_kept_once_with_who_and_why(fake: FakeWorker) -> None:
    tenants.set_weight(fake.ledger, "acme", 4, actor="ana", reason=WHY)
    action = operator_action("bob", "a test")
    for _ in range(2):
        fake.ledger.write(lambda tx: ledger_tenants.set_weight(tx, "acme", 0.5, **action))
    changes = tenants.get(fake.ledger, "acme").changes
    assert [(one.weight_before, one.weight_after, one.actor, one.reason) for one in changes] == [
        (4, 0.5, "bob", "a test"),
        (1, 4, "ana", WHY),
    ]
    assert {(one.before, one.after) for one in changes} == {(None, None)}


def test_weight_and_cap_of_a_tenant_do_not_change_each_other(fake: FakeWorker) -> None:
    tenants.set_weight(fake.ledger, "acme", 4)
    tenants.set_max_open(fake.ledger, "acme", 7)
    tenants.set_weight(fake.ledger, "acme", 2)
    (listed,) = tenants.list_(fake.ledger)
    assert (listed.weight, listed.max_open, listed.open) == (2, 7, 0)


def test_open_workflows_are_shown_with_the_oldest_and_counted_to_a_bound(
    fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = fake.workflow(fake.start(add.s(1, 2)).workflow_id).created_at
    fake.start(add.s(1, 2))
    shown = tenants.get(fake.ledger, "acme")
    assert (shown.open, shown.is_capped, shown.oldest_at) == (2, False, oldest)
    for module in (queries, tenants):
        monkeypatch.setattr(module, "MOST", 1)
    shown = tenants.get(fake.ledger, "acme")
    assert (shown.open, shown.is_capped) == (1, True)


def test_a_tenant_of_which_nothing_is_known_is_shown_as_it_begins(fake: FakeWorker) -> None:
    shown = tenants.get(fake.ledger, "nobody")
    assert (shown.tenant, shown.weight, shown.max_open, shown.open, shown.oldest_at) == (
        "nobody",
        1,
        None,
        0,
        None,
    )
    assert (shown.changes, tenants.list_(fake.ledger)) == ([], [])


@pytest.mark.parametrize("most", [-1, 1_000_001, 1.5, True, None, "many"])
def test_a_number_that_makes_no_sense_is_refused(fake: FakeWorker, most: object) -> None:
    with pytest.raises(InvalidArguments, match=r"max_open is .*; it must be a whole number from 0 to 1000000"):
        tenants.set_max_open(fake.ledger, "acme", most)  # type: ignore[arg-type]
    assert tenants.list_(fake.ledger) == []


@pytest.mark.parametrize("tenant", ["", "x" * 256, "a\nb"])
def test_a_name_that_no_tenant_has_is_refused(fake: FakeWorker, tenant: str) -> None:
    for call in (tenants.get, tenants.clear_max_open):
        with pytest.raises(InvalidArguments, match="it must be 1 to 255 printable characters"):
            call(fake.ledger, tenant)


def test_a_cap_that_a_tenant_does_not_have_cannot_be_cleared(fake: FakeWorker) -> None:
    tenants.set_weight(fake.ledger, "acme", 4)
    for tenant in ("acme", "nobody"):
        with pytest.raises(StateConflict, match="must be one with a max_open of its own"):
            tenants.clear_max_open(fake.ledger, tenant)
