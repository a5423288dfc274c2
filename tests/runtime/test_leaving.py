"""An exception from a step ends that attempt and nothing else: not the worker, its event loop, or other steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import agentq
from agentq.exceptions import StepFailed
from agentq.ledger import attempts
from agentq.testing.inline import Inline
from tests.runtime.leaving_steps import (
    LEAVES,
    empty_environment,
    fork,
    fork_later,
    leave,
    leave_in_background,
    leave_in_callback,
    leave_in_group,
    leave_later,
    leave_within_limits,
    leave_without_words,
    wait_for_gate,
    wait_inside,
    wait_inside_later,
)
from tests.runtime.stack import stack
from tests.support import Broker
from tests.support.steps import add, later

BACKGROUNDS = [leave_in_background, leave_in_group, leave_in_callback]
STEPS = [leave, leave_later, leave_within_limits]
IN_BACKGROUND = ["SystemExit", "KeyboardInterrupt"]
"""Exceptions that end a program from a background task; asyncio only logs the others."""


def name_of(how: str) -> str:
    return "TypeError" if how == "Unclassed" else type(LEAVES[how]()).__name__


def require_failed(workflow: agentq.Workflow[Any], how: str) -> None:
    with pytest.raises(StepFailed) as failure:
        workflow.result(30)
    assert failure.value.error_class.endswith(name_of(how))
    assert failure.value.category != "worker_lost"
    (job,) = workflow.jobs()
    assert [attempt.outcome for attempt in job.attempts] == ["failed"]
    assert "leaving_steps.py" in (job.attempts[0].error_traceback or "")


def require_refused_wait(workflow: agentq.Workflow[Any]) -> None:
    with pytest.raises(StepFailed, match=r"waits for workflow .* compose both in one canvas") as failure:
        workflow.result(30)
    assert failure.value.category == "definition"
    (job,) = workflow.jobs()
    assert [attempt.outcome for attempt in job.attempts] == ["failed"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_every_exception_of_a_step_ends_its_attempt_and_no_other(
    redis_broker: Broker, ledger_url: str, pool: str, tmp_path: Path
) -> None:
    arguments, gate = ("-I", "tests.runtime.leaving_steps"), tmp_path / "gate"
    with stack(redis_broker, ledger_url, pool=pool, concurrency=2, arguments=arguments) as at:
        waits = at.agentq.start(wait_for_gate.s(str(gate)))
        left = [(at.agentq.start(step.s(how)), how) for step in STEPS for how in LEAVES]
        left += [(at.agentq.start(step.s(how)), how) for step in BACKGROUNDS for how in IN_BACKGROUND]
        left += [(at.agentq.start(leave_without_words.s(how)), how) for how in ("SystemExit", "Framework")]
        for workflow, how in left:
            require_failed(workflow, how)
        for step in (fork, fork_later):
            codes = {how: at.agentq.start(step.s(how)).result(30)[-1] for how in ("returns", "exits", "raises")}
            assert codes == {"returns": "0", "exits": "0", "raises": "1"}
        for index, step in enumerate((wait_inside, wait_inside, wait_inside_later)):
            require_refused_wait(at.agentq.start(step.s("get" if index else "result")))
        assert at.agentq.start(empty_environment.s() | add.si(1, 2)).result(30) == 3
        gate.touch()
        assert waits.result(30) == "waited"
        assert [at.agentq.start(later.s(number)).result(30) for number in range(4)] == [0, 1, 2, 3]
        assert at.worker.terminate() == 0


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("step", [*STEPS], ids=lambda step: step.name.rpartition(".")[2])
def test_every_exception_of_a_step_ends_its_attempt_inline(agentq_inline: Inline, step: Any, how: str) -> None:
    require_failed(agentq.start(step.s(how)), how)


@pytest.mark.parametrize("step", [wait_inside, wait_inside_later], ids=["sync", "async"])
def test_a_step_that_waits_for_a_workflow_is_refused_inline_too(agentq_inline: Inline, step: Any) -> None:
    require_refused_wait(agentq.start(step.s("result")))


def test_an_unrecordable_outcome_is_a_failure_without_a_second_run(
    agentq_inline: Inline, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, errors = attempts.record, [TypeError("an unknown field")]

    def fail_first(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return record(*args, **kwargs)

    monkeypatch.setattr(attempts, "record", fail_first)
    workflow = agentq.start(add.s(1, 2))
    with pytest.raises(StepFailed, match=r"returned, but agentq could not record it.*an unknown field") as failure:
        workflow.result(60)
    assert failure.value.category == "not_recorded"
    (job,) = workflow.jobs()
    assert [attempt.outcome for attempt in job.attempts] == ["failed"]
