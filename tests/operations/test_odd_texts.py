"""Texts that no database keeps, and very long ones, are cleaned, refused or not found: alike on every ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentq.exceptions import AgentqError
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters, jobs, workers, workflows
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

ODD = {"NUL": "a\x00b", "surrogate": "a\ud800b", "long": "x" * 10_000}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_actor_and_reason_are_stored_in_a_clean_form(ledger: Ledger, text: str) -> None:
    fake = FakeWorker(ledger)
    started = fake.start(add.s(1, 2))
    workflows.cancel(ledger, str(started.workflow_id), actor=text, reason=text)
    (action,) = workflows.get(ledger, str(started.workflow_id)).actions
    assert len(action.actor) <= 255
    assert len(action.reason) <= 4_000
    assert not {"\x00", "\ud800"} & set(action.actor + action.reason)


LOOKS: dict[str, Callable[[Ledger, str], Any]] = {
    "a workflow": lambda ledger, text: workflows.get(ledger, text),
    "a result": lambda ledger, text: workflows.result(ledger, text),
    "a job": lambda ledger, text: jobs.get(ledger, text),
    "a cancel": lambda ledger, text: jobs.cancel(ledger, text),
    "a letter": lambda ledger, text: dead_letters.get(ledger, text),
    "a worker": lambda ledger, text: workers.get(ledger, text),
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@pytest.mark.parametrize("look", LOOKS)
def test_an_invalid_id_is_an_error_of_agentqs(ledger: Ledger, look: str, text: str) -> None:
    with pytest.raises(AgentqError):
        LOOKS[look](ledger, text)
