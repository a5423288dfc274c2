"""The limits file gives a limit a cooldown that code does not declare, or takes that of code away."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery, group

import agentq
from agentq import AgentQ, Concurrency, Cooldown, step
from agentq.operations import limits
from agentq.testing import assert_waiting_for
from agentq.testing.inline import Inline


class Refused(Exception):
    """The answer of a provider that refuses a call."""

    status_code = 429
    headers = {"retry-after": "30"}


@step(limits=[Concurrency("unlistening", key="model", limit=1)])
def call(model: str = "small") -> str:
    return model


@step(limits=[Concurrency("listening", limit=1), Cooldown("listening")])
def call_and_listen() -> None: ...


@step(limits=[Concurrency("listening", limit=1)])
def call_beside() -> None: ...


@pytest.fixture
def app(agentq_app: Celery, tmp_path: Path) -> Celery:
    """An app with a limits file; *agentq_app* is current again after the test."""
    file = tmp_path / "limits.toml"
    file.write_text('[limits."unlistening:small"]\ncooldown = true\n[limits.listening]\ncooldown = false\n')
    app = Celery("with-limits-file", broker="redis://nowhere.invalid")
    app.conf.agentq_limits = str(file)
    AgentQ(app)
    return app


def test_a_refused_call_closes_a_limit_to_which_the_file_gives_a_cooldown(app: Celery) -> None:
    with Inline(app) as inline:
        inline.fail(call, Refused("slow down"), times=2)
        small, large = agentq.start(call.s("small")), agentq.start(call.s("large"))
        inline.run()
        assert_waiting_for(small, "cooldown of unlistening:small, ", call)
        assert_waiting_for(large, "its time", call)


def test_a_refused_call_closes_no_limit_whose_cooldown_the_file_takes_away(app: Celery) -> None:
    with Inline(app) as inline:
        inline.fail(call_and_listen, Refused("slow down"), times=1)
        refused = agentq.start(call_and_listen.s())
        inline.run()
        assert_waiting_for(refused, "its time", call_and_listen)
        assert limits.get(inline.ledger, "listening").cooldown is None


def test_a_limit_that_one_step_gives_a_cooldown_has_it_for_all_its_steps(agentq_inline: Inline) -> None:
    agentq_inline.fail(call_beside, Refused("slow down"), times=1)
    refused, other = agentq.start(call_beside.s()), agentq.start(group(call_and_listen.s(), call_beside.s()))
    agentq_inline.run()
    assert_waiting_for(refused, "cooldown of listening, ", call_beside)
    assert {job.status for job in other.jobs() if job.kind == "task"} <= {"blocked"}, "all wait"
