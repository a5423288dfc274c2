"""The options of a start and of ``@step``: each declared once, documented, and refused where it does not exist."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from agentq import AgentQ, step
from agentq.exceptions import StepDefinitionError
from agentq.runtime.start.options import StartOptions
from agentq.runtime.step import Step
from agentq.steps.options import StepOptions
from tests.support.steps import add

KNOWN = "priority, retry, session, tenant"


@pytest.fixture
def app(tmp_path: Path) -> Any:
    app = Celery("options", broker="memory://", set_as_current=False)
    AgentQ(app, ledger=f"sqlite:///{tmp_path}/ledger.db")
    return app.agentq


@pytest.mark.parametrize("start", ["start", "astart"])
def test_a_start_refuses_an_unknown_option_and_names_the_nearest(app: AgentQ, start: str) -> None:
    with pytest.raises(TypeError, match=rf"no option 'tenan'\. Did you mean 'tenant'\? .* key, .*{KNOWN}$"):
        asyncio.run(called(getattr(app, start), add.s(1, 2), tenan="acme"))


@pytest.mark.parametrize("start", ["start_many", "astart_many"])
def test_a_start_of_many_refuses_an_unknown_option_and_names_the_nearest(app: AgentQ, start: str) -> None:
    with pytest.raises(TypeError, match=rf"no option 'key'\. Did you mean 'keys'\? .* keys, .*{KNOWN}$"):
        asyncio.run(called(getattr(app, start), [add.s(1, 2)], key="k"))


def test_a_start_takes_nothing_that_only_agentq_passes(app: AgentQ) -> None:
    with pytest.raises(TypeError, match="no option 'task_id'"):
        app.start(add.s(1, 2), task_id="1")  # type: ignore[call-arg]


def test_a_step_made_directly_refuses_an_unknown_option() -> None:
    with pytest.raises(StepDefinitionError, match=r"no option 'queu'\. Did you mean 'queue'"):
        Step(lambda: None, queu="llm")  # type: ignore[call-arg]


def test_each_option_is_documented_where_it_is_given() -> None:
    assert set(StepOptions.__annotations__) == documented(step.__doc__)
    assert {*StartOptions.__annotations__, "canvas", "key", "session"} == documented(AgentQ.start.__doc__)


async def called(start: Any, *args: Any, **options: Any) -> Any:
    """Call a start, which may be asynchronous."""
    started = start(*args, **options)
    return await started if asyncio.iscoroutine(started) else started


def documented(docstring: str | None) -> set[str]:
    """The names under ``Args:``."""
    part = (docstring or "").partition("Args:\n")[2].partition("\n\n")[0]
    return set(re.findall(r"^ +(\w+): ", part, re.MULTILINE))
