"""Caps hold inline: starts are refused until workflows have ended, and a step that starts is deferred."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

import agentq
from agentq import AgentQ, step
from agentq.exceptions import BacklogFull, ConfigurationError, StepDefinitionError
from agentq.operations import tenants
from agentq.testing import assert_succeeded
from agentq.testing.inline import Inline
from tests.support.steps import add

MOST = 2


@step(max_backlog=MOST)
def render(page: int) -> int:
    return page


@step
def start_another() -> str:
    return agentq.start(add.s(1, 2), tenant="busy").id


@pytest.fixture
def inline() -> Iterator[Inline]:
    app = Celery("capped", broker="redis://nowhere.invalid", set_as_current=False)
    AgentQ(app, ledger="postgresql://nowhere.invalid/none", max_open=MOST)
    with Inline(app) as inline:
        yield inline


def test_the_setting_holds_for_each_tenant_until_a_workflow_has_ended(inline: Inline) -> None:
    for tenant in ("acme", "globex"):
        agentq.start_many([add.s(1, 2)] * MOST, tenant=tenant)
        with pytest.raises(BacklogFull):
            agentq.start(add.s(1, 2), tenant=tenant)
    inline.run()
    assert agentq.start(add.s(1, 2), tenant="acme").result() == 3


def test_an_operator_gives_a_tenant_more(inline: Inline) -> None:
    tenants.set_max_open(inline.ledger, "acme", MOST + 1)
    agentq.start_many([add.s(1, 2)] * (MOST + 1), tenant="acme")
    with pytest.raises(BacklogFull):
        agentq.start(add.s(1, 2), tenant="acme")


def test_the_backlog_of_a_step_holds_for_calls_of_it_too(inline: Inline) -> None:
    tenants.set_max_open(inline.ledger, "default", 100)
    for page in range(MOST):
        render.delay(page)
    for start in (render.delay, lambda page: agentq.start(add.s(1, 2) | render.si(page))):
        with pytest.raises(BacklogFull):
            start(1)
    inline.run()
    assert render.delay(1).result() == 1


def test_a_step_that_starts_over_a_cap_is_deferred_and_costs_no_attempt(inline: Inline) -> None:
    blocking = agentq.start_many([add.s(1, 2).set(countdown=5)] * MOST, tenant="busy")
    workflow = agentq.start(start_another.s())
    inline.run()
    (job,) = workflow.jobs()
    assert (job.status, job.error_category) == ("scheduled", "overloaded")
    inline.advance(30)
    assert {one.status for one in blocking} == {"succeeded"}
    assert assert_succeeded(workflow)
    (job,) = workflow.jobs()
    assert job.uncounted > 0


def test_what_is_postponed_for_its_tenant_is_let_in_and_runs(inline: Inline) -> None:
    workflows = agentq.start_many([add.s(1, n) for n in range(MOST + 2)], tenant="acme", on_full="postpone")
    assert [workflow.jobs()[0].status for workflow in workflows] == ["queued"] * MOST + ["blocked"] * 2
    assert workflows[-1].result() == MOST + 2


def test_what_is_postponed_for_its_step_is_let_in_and_runs(inline: Inline) -> None:
    tenants.set_max_open(inline.ledger, "default", 100)
    workflows = [render.apply_async((page,), on_full="postpone") for page in range(2 * MOST + 1)]
    assert [workflow.jobs()[0].status for workflow in workflows] == ["queued"] * MOST + ["blocked"] * (MOST + 1)
    inline.run()
    assert [assert_succeeded(workflow) for workflow in workflows] == list(range(2 * MOST + 1))


@pytest.mark.parametrize("most", [-1, 10**7, "many"])
def test_a_setting_that_makes_no_sense_is_refused(most: object) -> None:
    app = Celery("wrong", broker="redis://nowhere.invalid", set_as_current=False)
    with pytest.raises(ConfigurationError, match="agentq_max_open"):
        _ = AgentQ(app, max_open=most).settings


@pytest.mark.parametrize("most", [0, -1, 10**7, 1.5, True, "many"])
def test_a_max_backlog_that_makes_no_sense_is_refused(most: object) -> None:
    with pytest.raises(
        StepDefinitionError, match=r"step '.*': max_backlog is .*, must be a whole number from 1 to"
    ):

        @step(max_backlog=most)  # type: ignore[call-overload]  # what the test is about
        def wrong() -> None:
            """Not a step."""
