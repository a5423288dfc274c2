"""Jobs in words: their tree, their errors, what they wait for."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from agentq.cli.display import one_line, seconds_between
from agentq.cli.tree import JobRecord, job_tree
from agentq.contrib.flower import task_page
from agentq.operations.schemas import Attempt, Job, JobSummary, Workflow
from agentq.states import VIRTUAL


def tree_of(workflow: Workflow, workers: Mapping[uuid.UUID, str]) -> str:
    """Return the tree of a workflow's jobs; *workers* are the names to show for workers' ids."""
    return job_tree("jobs", [_record(job, workers) for job in workflow.jobs], color=True)


def error_of(job: JobSummary | Attempt) -> str:
    """Return the class and the text of the last error, empty where there is none."""
    return f"{job.error_class}: {job.error_message}" if job.error_class else ""


def note_of(job: JobSummary) -> str:
    """Return what keeps a job: what it waits for, or its error."""
    return f"waits for {job.waiting_for}" if job.waiting_for else error_of(job)


def page_of(job_id: uuid.UUID, flower_url: str | None) -> str:
    """Return the address of a job's page in Flower, empty where none is set."""
    return "" if flower_url is None else task_page(flower_url, job_id)


def _record(job: Job, workers: Mapping[uuid.UUID, str]) -> JobRecord:
    return JobRecord(
        id=job.id,
        name=job.kind if job.kind in VIRTUAL else job.step,
        status=job.status,
        kind=job.kind,
        after=job.after_id,
        join=job.join_id,
        position=job.position or 0,
        attempts=job.attempt,
        seconds=seconds_between(job.started_at, job.finished_at),
        worker=workers.get(job.worker_id, "") if job.worker_id else "",
        label=_label(job),
        note=one_line(note_of(job)),
    )


def _label(job: Job) -> str:
    """The arguments in short, which tell branches of one step apart."""
    given = [*map(_short, job.args), *(f"{name}={_short(value)}" for name, value in job.kwargs.items())]
    return one_line(", ".join(given), 30)


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
