"""The conditions that a workflow waits for, in words, and the next step where no worker can come."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentq.ledger.db.session import Ledger
from agentq.ledger.queries import jobs
from agentq.operations import workers
from agentq.operations.identity import parse_id
from agentq.operations.jobs import summaries
from agentq.operations.schemas import JobSummary
from agentq.settings import Settings
from agentq.states import JobStatus, WorkerStatus

_EMBEDDED = Settings.model_fields["folder"].default.name


def explanation(ledger: Ledger, workflow_id: str) -> str:
    """Return what a workflow waits for, as a sentence or two; empty where nothing of it can move."""
    moving = jobs.moving(parse_id(workflow_id, "workflow"))
    found = summaries(ledger.read(partial(jobs.find, jobs=moving, limit=1, oldest_first=True)))
    return " ".join(filter(None, [*map(_summary, found), without_worker(ledger) if found else ""]))


def without_worker(ledger: Ledger) -> str:
    """Return which ledger it is that no live worker uses, and what to do; empty where one does."""
    if workers.list_(ledger, status=WorkerStatus.ALIVE, limit=1):
        return ""
    where, start = ledger.url.render_as_string(hide_password=True), "agentq up -A MODULE"
    if ledger.is_postgresql:
        return f"No live worker uses this ledger, {where}: start one with: {start}."
    path = Path(ledger.url.database or "").absolute()
    if path.parent.name == _EMBEDDED:
        start += (
            f", in {path.parent.parent}. A program that runs in another folder has a ledger and a broker of its "
            "own; name one of each for all, with AGENTQ_LEDGER and the app's broker_url"
        )
    return f"No live worker uses this ledger, {path}: start one with: {start}."


def _summary(job: JobSummary) -> str:
    does = "runs" if job.status == JobStatus.RUNNING else f"waits for {job.waiting_for}"
    return f"Job {job.id} of step {job.step!r} {does}."
