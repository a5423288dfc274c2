"""Jobs in words: their tree, their errors, what they wait for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from agentq.cli.display import age, one_line, seconds_between, took
from agentq.cli.tree import JobRecord, job_tree
from agentq.contrib.flower import task_page
from agentq.operations.attempt_counts import counted
from agentq.operations.schemas import Attempt, ByHand, Job, JobSummary, WorkflowDetails, WorkflowSummary
from agentq.states import FAN_INS

_NOTE_WIDTH = 160
"""Characters: enough for a step's name and the command that shows its dead letter."""


def tree_of(workflow: WorkflowDetails, workers: Mapping[uuid.UUID, str]) -> str:
    """Return the tree of a workflow's jobs; *workers* are the names to show for workers' ids."""
    return job_tree("jobs", [_record(job, workers) for job in workflow.jobs], color=True)


def error_of(of: JobSummary | Attempt | WorkflowSummary) -> str:
    """Return the class and the text of the last error, empty where there is none."""
    return f"{of.error_class}: {of.error_message}" if of.error_class else ""


def end_of(workflow: WorkflowSummary) -> str:
    """Return what ended a workflow before its end: the first line of its error, or why it was cancelled."""
    return (error_of(workflow) or workflow.reason or "").partition("\n")[0]


def note_of(job: JobSummary) -> str:
    """Return what is to be known of a job: what it waits for, its error, or who gave its result."""
    if job.by_hand:
        return f"its result is {by_hand_of(job.by_hand)}"
    return f"waits for {job.waiting_for}" if job.waiting_for else error_of(job)


def by_hand_of(given: ByHand) -> str:
    """Return who gave a result, when and why."""
    return f"by {given.actor}, {age(given.created_at)}: {given.reason}"


def took_of(job: JobSummary) -> str:
    """Return how long a job took; empty where no attempt counts, or its result was given by hand."""
    return took(job.started_at, job.finished_at) if _has_duration(job) else ""


def page_of(job_id: uuid.UUID, flower_url: str | None) -> str:
    """Return the address of a job's page in Flower, empty where none is set."""
    return "" if flower_url is None else task_page(flower_url, job_id)


def _record(job: Job, workers: Mapping[uuid.UUID, str]) -> JobRecord:
    return JobRecord(
        id=job.id,
        name=job.kind if job.kind in FAN_INS else job.step,
        status=job.status,
        kind=job.kind,
        after=job.after_id,
        join=job.join_id,
        position=job.position or 0,
        attempts=job.attempt,
        attempts_summary=job.attempts_summary,
        seconds=seconds_between(job.started_at, job.finished_at) if _has_duration(job) else None,
        worker="" if job.by_hand or job.worker_id is None else workers.get(job.worker_id, ""),
        label=_label(job),
        note=one_line(note_of(job), _NOTE_WIDTH),
    )


def _has_duration(job: JobSummary) -> bool:
    return job.by_hand is None and counted(job) > 0


def _label(job: Job) -> str:
    """The arguments in short, which distinguish branches of one step."""
    given = [*map(_short, job.args), *(f"{name}={_short(value)}" for name, value in job.kwargs.items())]
    return one_line(", ".join(given), 30)


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
