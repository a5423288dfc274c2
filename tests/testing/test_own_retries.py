"""A plain task keeps the retry rules that it was written with; ``self.retry`` counts as in Celery."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from celery import Task, shared_task
from celery.exceptions import MaxRetriesExceededError

import agentq
from agentq import Context, Policy, Workflow, rule, step
from agentq.exceptions import StepFailed
from agentq.operations import jobs as job_operations
from agentq.policies import Fixed
from agentq.testing.inline import Inline

NAME = "tests.own_retries."
SOON = Policy(otherwise=rule("retry", schedule=Fixed(5)), attempts=3)


def own(name: str, **options: Any) -> Any:
    return shared_task(bind=True, name=NAME + name, **options)


@own("asks")
def asks(self: Any, countdown: float = 0, **options: Any) -> None:
    raise self.retry(exc=ConnectionError("engaged"), countdown=countdown, **options)


@own("asks_never", max_retries=0)
def asks_never(self: Any) -> None:
    raise self.retry(exc=ConnectionError("engaged"), countdown=0)


@own("asks_ten", max_retries=10)
def asks_ten(self: Any) -> None:
    raise self.retry(exc=ConnectionError("engaged"), countdown=0)


@own("asks_for_ever", max_retries=None)
def asks_for_ever(self: Any) -> int:
    if self.request.retries < 60:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@own("asks_bare", max_retries=1, default_retry_delay=77)
def asks_bare(self: Any) -> None:
    raise self.retry()


@own("cleans_up", max_retries=1)
def cleans_up(self: Any) -> str:
    try:
        raise self.retry(countdown=0)
    except MaxRetriesExceededError:
        return "cleaned up"


@own("wraps", max_retries=1)
def wraps(self: Any) -> None:
    try:
        raise self.retry(countdown=0)
    except MaxRetriesExceededError as error:
        raise ConnectionError("engaged for good") from error


@own("auto", autoretry_for=(ConnectionError,), retry_kwargs={"max_retries": 7, "countdown": 0})
def auto(self: Any, kind: str) -> None:
    raise {"named": ConnectionError, "subclass": ConnectionResetError, "other": KeyError}[kind]("engaged")


@own(
    "auto_but",
    autoretry_for=(Exception,),
    dont_autoretry_for=(KeyError,),
    max_retries=2,
    default_retry_delay=1,
)
def auto_but(self: Any, kind: str) -> None:
    raise {"named": ConnectionError, "excepted": KeyError}[kind]("engaged")


@own("auto_async", autoretry_for=(ConnectionError,), retry_backoff=10, retry_backoff_max=25, retry_jitter=False)
async def auto_async(self: Any, kind: str) -> None:
    raise {"named": ConnectionError, "other": KeyError}[kind]("engaged")


@own("backs_off", autoretry_for=(ConnectionError,), retry_backoff=10, retry_backoff_max=25, retry_jitter=False)
def backs_off(self: Any, kind: str) -> None:
    raise ConnectionError("engaged")


@own("silent")
def silent(self: Any) -> None:
    raise ConnectionError("engaged")


@own("bounded", max_retries=1)
def bounded(self: Any) -> None:
    raise ConnectionError("engaged")


class Once(Task):  # type: ignore[misc]
    max_retries = 0


@own("based", base=Once)
def based(self: Any) -> None:
    raise ConnectionError("engaged")


@step(retry=SOON)
def step_asks(max_retries: int | None = None, countdown: float | None = None) -> None:
    raise step_asks.retry(exc=KeyError("engaged"), max_retries=max_retries, countdown=countdown)


@step(retry=SOON)
def step_asks_bare() -> None:
    raise step_asks_bare.retry(max_retries=1, countdown=0)


@own("asks_and_goes_on")
def asks_and_goes_on(self: Any) -> int:
    if self.request.retries < 2:
        self.retry(countdown=0, throw=False)
    return int(self.request.retries)


@step(retry=SOON)
def step_asks_and_goes_on(ctx: Context) -> int:
    if ctx.attempt < 3:
        step_asks_and_goes_on.retry(countdown=0, throw=False)
    return ctx.attempt - 1


def failure(agentq_inline: Inline, canvas: Any, **options: Any) -> StepFailed:
    with pytest.raises(StepFailed) as failed:
        agentq.start(canvas, **options).result()
    return failed.value


def pauses(workflow: Workflow[Any]) -> list[float]:
    """Seconds between the end of each attempt and the start of the next."""
    (job,) = workflow.jobs()
    attempts = job_operations.get(agentq.current().ledger, str(job.id)).attempts
    return [
        (later.started_at - before.finished_at).total_seconds()  # type: ignore[operator]
        for before, later in pairwise(attempts)
    ]


@pytest.mark.parametrize(
    ("task", "attempts"),
    [(asks, 4), (asks_never, 1), (asks_ten, 11), (based, 1), (bounded, 2), (silent, 5)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_plain_task_has_as_many_attempts_as_it_says(agentq_inline: Inline, task: Any, attempts: int) -> None:
    failed = failure(agentq_inline, task.s())
    assert (failed.attempts, failed.error_class) == (attempts, "ConnectionError")
    (job,) = agentq.workflow(failed.workflow_id).jobs()
    assert job.attempt == attempts


def test_without_a_bound_it_is_tried_until_it_returns(agentq_inline: Inline) -> None:
    assert agentq.start(asks_for_ever.s()).result() == 60


@pytest.mark.parametrize(("asked", "attempts"), [(0, 1), (1, 2), (8, 9)])
@pytest.mark.parametrize("asker", [asks, step_asks], ids=["plain task", "step"])
def test_a_bound_that_one_call_gives_holds(agentq_inline: Inline, asker: Any, asked: int, attempts: int) -> None:
    failed = failure(agentq_inline, asker.s(max_retries=asked, countdown=0))
    assert failed.attempts == attempts


@pytest.mark.parametrize("asker", [asks_and_goes_on, step_asks_and_goes_on], ids=["plain task", "step"])
def test_a_retry_that_is_asked_for_without_raising_comes_once_the_function_has_returned(
    agentq_inline: Inline, asker: Any
) -> None:
    workflow = agentq.start(asker.s())
    assert workflow.result() == 2
    (job,) = workflow.jobs()
    assert [attempt.outcome for attempt in job.attempts] == ["retried", "retried", "succeeded"]


def test_a_step_that_gives_none_is_bounded_by_its_policy(agentq_inline: Inline) -> None:
    assert failure(agentq_inline, step_asks.s()).attempts == 3


def test_without_an_error_of_its_own_it_fails_with_celerys(agentq_inline: Inline) -> None:
    failed = failure(agentq_inline, step_asks_bare.s())
    assert (failed.attempts, failed.error_class) == (2, "celery.exceptions.MaxRetriesExceededError")


def test_the_pause_is_the_tasks_own(agentq_inline: Inline) -> None:
    workflow = agentq.start(asks_bare.s())
    with pytest.raises(StepFailed):
        workflow.result()
    assert pauses(workflow) == [pytest.approx(77, abs=1)]


def test_code_that_catches_the_end_of_the_retries_goes_on(agentq_inline: Inline) -> None:
    assert agentq.start(cleans_up.s()).result() == "cleaned up"


def test_an_error_made_of_the_end_of_the_retries_is_final(agentq_inline: Inline) -> None:
    assert failure(agentq_inline, wraps.s()).attempts == 2


@pytest.mark.parametrize(
    ("task", "kind", "attempts"),
    [
        (auto, "named", 8),
        (auto, "subclass", 8),
        (auto, "other", 1),
        (auto_but, "named", 3),
        (auto_but, "excepted", 1),
        (auto_async, "named", 4),
        (auto_async, "other", 1),
    ],
)
def test_autoretry_says_which_errors_are_tried_again(
    agentq_inline: Inline, task: Any, kind: str, attempts: int
) -> None:
    assert failure(agentq_inline, task.s(kind)).attempts == attempts


@pytest.mark.parametrize("task", [backs_off, auto_async], ids=["plain", "async"])
def test_autoretry_backs_off_as_the_task_says(agentq_inline: Inline, task: Any) -> None:
    workflow = agentq.start(task.s("named"))
    with pytest.raises(StepFailed):
        workflow.result()
    assert pauses(workflow) == [pytest.approx(seconds, abs=1) for seconds in (10, 20, 25)]


def test_an_error_that_a_test_injects_is_tried_again_as_in_production(agentq_inline: Inline) -> None:
    agentq_inline.fail(auto.name, ConnectionError("injected"))
    assert failure(agentq_inline, auto.s("other")).attempts == 8


def test_the_policy_of_a_workflow_stands_in_place_of_a_tasks_own_rules(agentq_inline: Inline) -> None:
    assert failure(agentq_inline, auto.s("other"), retry=SOON).attempts == 3
    assert failure(agentq_inline, asks_ten.s(), retry=SOON).attempts == 3
