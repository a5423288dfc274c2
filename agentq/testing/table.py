"""A workflow as text, for the message of an assertion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentq.states import RUNNABLE

if TYPE_CHECKING:
    from agentq.operations.schemas import Job
    from agentq.runtime.workflow import Workflow

_HEADER = ("step", "status", "attempts", "waits for", "error")
_WIDEST = 100


def describe(workflow: Workflow[Any]) -> str:
    """Return a workflow's status and a table of its jobs: status, attempts, what each one waits for, error."""
    rows = [_HEADER, *(_cells(job) for job in workflow.jobs())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([f"workflow {workflow.id} is {workflow.status}", *(f"  {line.rstrip()}" for line in lines)])


def _cells(job: Job) -> tuple[str, ...]:
    attempts = job.attempts_summary if job.kind in RUNNABLE else ""
    error = f"{job.error_category}: {job.error_class}: {job.error_message}" if job.error_class else ""
    return job.step, job.status, attempts, _line(job.waiting_for or ""), _line(error)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
