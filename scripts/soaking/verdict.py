"""The verdict: what the ledger says, compared with what the client knows and with what was really done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import aliased

from agentq.exceptions import WorkflowFailed
from agentq.ledger.audit.audit import audit
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import AttemptRow, DeadLetterRow, JobRow, WorkerRow, WorkflowRow
from agentq.ledger.queries import workflows
from agentq.states import WORKFLOW_FINAL, AttemptOutcome, DeadLetterStatus, JobKind, WorkflowStatus
from soaking.journal import Story
from soaking.limits import most_at_once
from soaking.rates import Starts, starts
from soaking.shapes import SHAPES
from soaking.steps import fragile

Fallen = Mapping[str, list[datetime]]
"""The times of strikes on workers, by their names."""


@dataclass
class Verdict:
    """The verdict on a soak. Each entry of a list names a workflow or job, and its fault."""

    started: int
    finished: int = 0
    """Workflows that ended as they must, with the right result."""
    lost: list[str] = field(default_factory=list)
    """Started, says the client, but not in the ledger."""
    doubled: list[str] = field(default_factory=list)
    """Two workflows of a key, two outcomes of a job, two jobs for one, one attempt that ran twice."""
    stuck: list[str] = field(default_factory=list)
    """Not over although everything had the time to end."""
    wrong: list[str] = field(default_factory=list)
    """Over, but otherwise than it must be; and what should not have been raised."""
    violations: list[str] = field(default_factory=list)
    """The violations that the audit found."""
    jobs: int = 0
    attempts_lost: int = 0
    rerun: int = 0
    """The number of times that a step's work was done again."""
    sent_again: int = 0
    """Messages that were sent again for the last attempt of a job."""
    most_at_once: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By limit the most attempts that ran at once, and the most slots that it ever had."""
    starts: dict[str, Starts] = field(default_factory=dict)
    """By limit with a rate, its starts."""
    looks_at_limits: int = 0
    """The number of times that the slots of all limits were compared with those that jobs held."""
    longest_recovery: float = 0.0
    """Seconds from the loss of an attempt to the start of the next: from when its worker was struck, if it was."""
    longest_rescue: float = 0.0
    """Seconds of that from when the loss was recorded."""

    @property
    def is_good(self) -> bool:
        """True without faults."""
        return not (self.lost or self.doubled or self.stuck or self.wrong or self.violations)


def is_over(connection: Connection) -> bool:
    """Say whether every workflow, every job and all that dead letters led to has ended."""
    return not any(
        connection.scalar(select(query.exists()))
        for query in (
            select(WorkflowRow.id).where(WorkflowRow.status.not_in(WORKFLOW_FINAL)),
            select(JobRow.id).where(JobRow.finished_at.is_(None)),
            _unhandled(DeadLetterRow.id),
        )
    )


def verdict_on(ledger: Ledger, story: Story, effects: Path, fallen: Fallen) -> Verdict:
    """Compare everything with everything."""
    verdict = Verdict(started=len(story.started))
    verdict.violations += map(str, ledger.read(audit))
    verdict.wrong += story.errors
    verdict.wrong += [f"{key}: no start of it ever returned" for key in sorted(story.tried - set(story.started))]
    ledger.read(lambda connection: _compare(connection, story, verdict))
    ledger.read(lambda connection: _measure(connection, fallen, verdict))
    verdict.most_at_once = ledger.read(most_at_once)
    over = [(name, most, slots) for name, (most, slots) in verdict.most_at_once.items() if most > slots]
    verdict.wrong += [f"limit {name}: {most} attempts at once, of {slots} slots" for name, most, slots in over]
    verdict.starts = ledger.read(starts)
    verdict.wrong += [f"limit {name}: {one}" for name, of_it in verdict.starts.items() for one in of_it.too_early]
    _count_effects(effects, verdict)
    return verdict


def _compare(connection: Connection, story: Story, verdict: Verdict) -> None:
    rows = connection.execute(
        select(WorkflowRow.id, WorkflowRow.key, WorkflowRow.status).order_by(WorkflowRow.id)
    ).all()
    known = {str(row.id) for row in rows}
    for key, ids in story.started.items():
        verdict.lost += [f"{key}: workflow {one} is not there" for one in sorted(ids - known)]
    found = defaultdict(set, {key: set(ids) for key, ids in story.started.items()})
    for row in rows:
        found[row.key].add(str(row.id))
    verdict.doubled += [f"{key}: workflows {sorted(ids)}" for key, ids in found.items() if len(ids) > 1]
    steps = _count_steps(connection)
    for row in rows:
        _compare_workflow(connection, row, steps[row.id], verdict)
    verdict.stuck += [f"job {one} has not ended, but its workflow has" for one in _left_over(connection)]
    unhandled = connection.scalars(_unhandled(DeadLetterRow.id))
    verdict.stuck += [f"dead letter {one} was never handled and closed" for one in unhandled]
    verdict.doubled += [f"job {one} succeeded twice" for one in connection.scalars(_SUCCEEDED_TWICE)]


def _compare_workflow(connection: Connection, row: AnyRow, steps: int, verdict: Verdict) -> None:
    name, _, number = row.key.rpartition("-")
    shape = SHAPES[name]
    label = f"{row.key}: workflow {row.id}"
    if steps > shape.steps:
        verdict.doubled.append(f"{label} has {steps} steps, not {shape.steps}")
    if row.status not in WORKFLOW_FINAL:
        verdict.stuck.append(f"{label} is {row.status}: {_tell_jobs(connection, row.id)}")
    elif row.status != shape.status:
        verdict.wrong.append(f"{label} is {row.status}, not {shape.status}: {_tell_jobs(connection, row.id)}")
    elif (result := _result(connection, row)) != shape.result(int(number)):
        verdict.wrong.append(f"{label} has the result {result!r}, not {shape.result(int(number))!r}")
    else:
        verdict.finished += 1


def _result(connection: Connection, row: AnyRow) -> Any:
    if row.status != WorkflowStatus.SUCCEEDED:
        return None
    try:
        return workflows.workflow_result(connection, workflows.workflow_status(connection, row.id))[1]
    except WorkflowFailed as error:
        return error


def _measure(connection: Connection, fallen: Fallen, verdict: Verdict) -> None:
    outcomes: Counter[str] = Counter()
    for outcome, count in connection.execute(_OUTCOMES):
        outcomes[outcome] = count
    verdict.jobs = sum(_count_steps(connection).values())
    verdict.attempts_lost = outcomes[AttemptOutcome.LOST]
    verdict.sent_again = connection.scalar(select(func.sum(JobRow.dispatches))) or 0
    for row in connection.execute(_RECOVERIES):
        struck = [time for time in fallen.get(row.hostname, ()) if row.started_at <= time <= row.finished_at]
        rescue = (row.again_at - row.finished_at).total_seconds()
        recovery = (row.again_at - max(struck, default=row.finished_at)).total_seconds()
        verdict.longest_rescue = max(verdict.longest_rescue, rescue)
        verdict.longest_recovery = max(verdict.longest_recovery, recovery)


def _count_effects(effects: Path, verdict: Verdict) -> None:
    lines = effects.read_text().splitlines() if effects.exists() else []
    verdict.rerun = len(lines) - len({line.split()[0] for line in lines})
    verdict.doubled += [f"attempt {line} ran {count} times" for line, count in Counter(lines).items() if count > 1]


def _count_steps(connection: Connection) -> Counter[Any]:
    query = select(JobRow.workflow_id, func.count()).where(JobRow.kind == JobKind.STEP)
    return Counter(dict(connection.execute(query.group_by(JobRow.workflow_id)).all()))


def _left_over(connection: Connection) -> list[Any]:
    query = select(JobRow.id).join(WorkflowRow, WorkflowRow.id == JobRow.workflow_id)
    left = query.where(JobRow.finished_at.is_(None), WorkflowRow.status.in_(WORKFLOW_FINAL))
    return list(connection.scalars(left))


def _tell_jobs(connection: Connection, workflow_id: Any) -> str:
    rows = connection.execute(
        select(JobRow.id, JobRow.step, JobRow.kind, JobRow.status, JobRow.attempt, JobRow.remaining)
        .add_columns(JobRow.dispatches, JobRow.dispatched_at, JobRow.error_message)
        .where(JobRow.workflow_id == workflow_id)
        .order_by(JobRow.id)
    )
    return "".join(f"\n    {dict(row._mapping)}" for row in rows)


def _unhandled(*columns: Any) -> Any:
    return select(*columns).where(
        DeadLetterRow.handled_at.is_(None) | (DeadLetterRow.status == DeadLetterStatus.OPEN)
    )


_next = aliased(AttemptRow)
_OUTCOMES = select(AttemptRow.outcome, func.count()).group_by(AttemptRow.outcome)
_SUCCEEDED_TWICE = (
    select(AttemptRow.job_id)
    .where(AttemptRow.outcome == AttemptOutcome.SUCCEEDED)
    .group_by(AttemptRow.job_id)
    .having(func.count() > 1)
)
_RECOVERIES = (
    select(AttemptRow.started_at, AttemptRow.finished_at, _next.started_at.label("again_at"), WorkerRow.hostname)
    .join(_next, (_next.job_id == AttemptRow.job_id) & (_next.number == AttemptRow.number + 1))
    .join(JobRow, JobRow.id == AttemptRow.job_id)
    .join(WorkerRow, WorkerRow.id == AttemptRow.worker_id)
    # A fragile step waits for its replay.
    .where(AttemptRow.outcome == AttemptOutcome.LOST, JobRow.step != fragile.name)
)
