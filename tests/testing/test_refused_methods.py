"""Methods of Celery's tasks that would go round the ledger are refused at the first attempt."""

from __future__ import annotations

from typing import Any

import pytest
from celery import shared_task

import agentq
from agentq import Workflow, step
from agentq.exceptions import StepFailed
from agentq.testing.inline import Inline
from tests.support.steps import add


@step
def uses(how: str) -> Any:
    return _use(uses, how)


@shared_task(bind=True, name="tests.refused.plain_uses", max_retries=None)  # type: ignore[untyped-decorator]
def plain_uses(self: Any, how: str) -> Any:
    return _use(self, how)


def _use(task: Any, how: str) -> Any:
    if how == "retry":
        raise task.retry(args=("other",), countdown=0)
    return getattr(task, how)(add.s(1, 2))


def failure(agentq_inline: Inline, workflow: Workflow[Any]) -> StepFailed:
    agentq_inline.run()
    with pytest.raises(StepFailed) as failed:
        workflow.result(0)
    return failed.value


@pytest.mark.parametrize("how", ["replace", "add_to_chord", "retry"])
@pytest.mark.parametrize("task", [uses, plain_uses], ids=["step", "plain task"])
def test_a_call_that_is_not_durable_is_a_dead_letter_at_once(agentq_inline: Inline, task: Any, how: str) -> None:
    failed = failure(agentq_inline, agentq.start(task.s(how)))
    assert (failed.attempts, failed.category) == (1, "definition")
    assert f"self.{how}()" in failed.error_message
