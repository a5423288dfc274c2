"""The demo's output at the end of a run: the jobs, the report, the losses, and further commands."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import click

from agentq import Workflow
from agentq.cli.describe import tree_of
from agentq.demo import steps
from agentq.demo.app import agentq
from agentq.demo.schemas import Report
from agentq.demo.wording import command, counted, shown_path
from agentq.operations import health, jobs, workflows
from agentq.operations.schemas import Job
from agentq.states import AttemptOutcome

HEAD_LINES = 11
SHOWN_LOSSES = 8


def report(workflow: Workflow[Report], folder: Path | None, *, was_hit: bool) -> int:
    """Print all about a workflow that has ended.

    Args:
        workflow: the demo's workflow.
        folder: the documents' folder, None for the installed packages.
        was_hit: whether something was done to the run, so that its report is worth a comparison.

    Returns:
        The exit code: 1 where the report is not the one that it should be.

    Raises:
        WorkflowFailed: a step failed for good, or the workflow was cancelled.
    """
    found = workflows.get(agentq.ledger, workflow.id)
    workers = health.worker_names(agentq.ledger, {job.worker_id for job in found.jobs if job.worker_id})
    click.echo(f"\n{tree_of(found, workers)}\n")
    report = workflow.result(timeout=0)
    _print_head(report)
    seconds = ((found.finished_at or found.created_at) - found.created_at).total_seconds()
    click.echo(f"{counted(report.documents, 'document')} in {seconds:.1f} s. Model: {report.model}.\n")
    lost = [job for job in found.jobs if any(item.outcome is AttemptOutcome.LOST for item in job.attempts)]
    _print_lost(lost, found.jobs)
    _print_dispatched_again(workflow.id)
    is_right = _compare(report, folder) if was_hit else True
    _print_commands(workflow.id, [*lost, *found.jobs][0])
    return 0 if is_right else 1


def report_interrupted(workflow: Workflow[Report]) -> None:
    """Say that nothing is lost, and how to go on."""
    click.echo("\nInterrupted. The workflow stays in the ledger, and any worker finishes it:\n")
    _print_command("celery -A agentq.demo.app worker")
    _print_command(f"agentq workflows show {workflow.id}")


def _print_head(report: Report) -> None:
    width = shutil.get_terminal_size().columns - 2
    click.echo(f"The report is {shown_path(Path(report.path or ''))}. It begins:\n")
    for line in report.markdown.splitlines()[:HEAD_LINES]:
        click.echo(f"  {line if len(line) <= width else line[: width - 1] + '…'}".rstrip())
    click.echo()


def _print_lost(lost: Sequence[Job], all_jobs: Sequence[Job]) -> None:
    if not lost:
        return
    click.echo(f"Lost with their worker, and run again: {counted(len(lost), 'job')}.")
    documents = _documents(all_jobs)
    for job in lost[:SHOWN_LOSSES]:
        attempts = ", ".join(f"attempt {attempt.number} {attempt.outcome}" for attempt in job.attempts)
        click.echo(f"  {job.step} {documents.get(job.id, '')}: {attempts}")
    if len(lost) > SHOWN_LOSSES:
        click.echo(f"  and {len(lost) - SHOWN_LOSSES} more")
    click.echo()


def _print_dispatched_again(workflow_id: str) -> None:
    again = sum(count.dispatched_again for count in jobs.progress(agentq.ledger, workflow_id))
    if again:
        click.echo(f"Dispatched again, because the broker had lost their messages: {counted(again, 'job')}.\n")


def _compare(report: Report, folder: Path | None) -> bool:
    """Make the same report by calling the steps as the plain functions that they are, and compare."""
    found = hashlib.sha256(Path(report.path or "").read_bytes()).hexdigest()
    if not steps.model().is_repeatable:
        click.echo(f"sha256 of the report: {found}. This model's answers differ, so there is none to compare.\n")
        return True
    click.echo("Making the report once more by plain function calls, without Celery and ledger, to compare …")
    classified = [steps.classify(steps.summarise(steps.read(name))) for name in steps.find(folder)]
    expected = hashlib.sha256(steps.combine(classified).markdown.encode()).hexdigest()
    if found == expected:
        click.echo(f"Both are the same, byte for byte: sha256 {found}.\n")
    else:
        click.echo(f"THEY DIFFER: sha256 {found} by the workflow, {expected} by plain calls.\n")
    return found == expected


def _print_commands(workflow_id: str, job: Job) -> None:
    click.echo("Look further:\n")
    _print_command(f"agentq workflows show {workflow_id}")
    _print_command(f"agentq jobs list --workflow {workflow_id}")
    _print_command(f"agentq jobs show {job.id}")


def _print_command(line: str) -> None:
    click.echo(f"  {command(line, agentq.embedded.folder)}")


def _documents(found: Sequence[Job]) -> dict[uuid.UUID, str]:
    """Return which document each job of a branch is about: the argument of the branch's first job."""
    known: dict[uuid.UUID, str] = {}
    for job in found:  # oldest first, so the job before is known already
        before = known.get(job.after_id) if job.after_id else None
        if job.step == steps.read.name:
            known[job.id] = str(job.args[0])
        elif before:
            known[job.id] = before
    return known
