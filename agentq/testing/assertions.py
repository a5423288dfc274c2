"""Assertions about a workflow, which print its jobs where they do not hold. They look; they wait for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from agentq.states import WorkflowStatus
from agentq.testing.table import describe

if TYPE_CHECKING:
    from agentq.operations.schemas import DeadLetterSummary, Job
    from agentq.runtime.step import Step
    from agentq.runtime.workflow import Workflow

R = TypeVar("R")


def assert_succeeded(workflow: Workflow[R]) -> R:
    """Return the result of a workflow that succeeded; raises AssertionError for any other."""
    __tracebackhide__ = True
    if workflow.status is not WorkflowStatus.SUCCEEDED:
        raise _failure(workflow, "it succeeded")
    return workflow.result(0)


def assert_dead_letter(
    workflow: Workflow[Any],
    step: Step[..., Any] | str | None = None,
    *,
    category: str | None = None,
    error: str | None = None,
) -> DeadLetterSummary:
    """Return the only open dead letter of a workflow that fits; raises AssertionError where there is not one.

    Args:
        workflow: whose it is.
        step: the step that failed, or its name; None for any.
        category: the category of its error, such as "rate_limit"; None for any.
        error: text in the error's class or message; None for any.
    """
    __tracebackhide__ = True
    wanted = {"step": _name(step), "category": category, "error": error}
    letters = workflow.dead_letters()
    fitting = [letter for letter in letters if _fits(letter, **wanted)]
    if len(fitting) != 1:
        found = "".join(
            f"\n  {letter.step}: {letter.error_category}: {letter.error_class}: {letter.error_message}"
            for letter in letters
        )
        what = f"it has one open dead letter{_named(wanted)}"
        raise _failure(workflow, what, f"open dead letters: {found or 'none'}")
    return fitting[0]


def assert_waiting_for(workflow: Workflow[Any], what: str, step: Step[..., Any] | str | None = None) -> Job:
    """Return the first job of a workflow that waits for *what*; raises AssertionError where none does.

    Args:
        workflow: whose job it is.
        what: text in the condition that the ledger shows: "its time", "a free worker", "job(s) before it".
        step: the step of the job, or its name; None for any.
    """
    __tracebackhide__ = True
    name = _name(step)
    waiting = [job for job in workflow.jobs() if what in (job.waiting_for or "") and name in (None, job.step)]
    if not waiting:
        raise _failure(workflow, f"a job{_named({'step': name})} waits for {what!r}")
    return waiting[0]


def _fits(letter: DeadLetterSummary, step: str | None, category: str | None, error: str | None) -> bool:
    said = f"{letter.error_class}: {letter.error_message}"
    return step in (None, letter.step) and category in (None, letter.error_category) and (error or "") in said


def _name(step: Step[..., Any] | str | None) -> str | None:
    return step if step is None or isinstance(step, str) else step.name


def _named(wanted: dict[str, str | None]) -> str:
    given = [f"{name} {value!r}" for name, value in wanted.items() if value is not None]
    return f" with {', '.join(given)}" if given else ""


def _failure(workflow: Workflow[Any], expected: str, *more: str) -> AssertionError:
    return AssertionError("\n".join([f"expected that {expected}, but {describe(workflow)}", *more]))
