"""For each rule of the audit, a violation: written past all guards into a ledger that was sound."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import (
    ActionRow,
    AttemptRow,
    DeadLetterRow,
    EventRow,
    HoldRow,
    JobRow,
    LimitRow,
    ScheduleRow,
    WorkerRow,
    WorkflowRow,
)
from tests.ledger.busy_ledger import BusyLedger

Corrupt = Callable[["Spade"], None]

HOUR, HOURS_AGO = seconds_from_now(3600.0), seconds_from_now(-7200.0)
END: dict[str, Any] = {"status": "succeeded", "finished_at": now()}
WAITS: dict[str, Any] = {"status": "waiting", "remaining": 1}
QUEUED: dict[str, Any] = {"status": "queued", "remaining": 0, "dispatched_at": now()}

MEMBER, JOIN, AFTER_JOIN, BEHIND, ALONE = 1, 2, 3, 5, 6
"""Jobs of the scene's ``branches``: queued, waiting for that, waiting for the join, queued, queued."""


class Spade:
    """Writes anything into a busy ledger, in one transaction."""

    def __init__(self, connection: Connection, busy_ledger: BusyLedger) -> None:
        self.run = connection.execute
        self.dialect = connection.dialect.name
        self.busy_ledger = busy_ledger

    def job(self, workflow_id: uuid.UUID, number: int = 0, **values: Any) -> uuid.UUID:
        """Change one job of a workflow; return its id."""
        ids = select(JobRow.id).where(JobRow.workflow_id == workflow_id).order_by(JobRow.id)
        job_id = self.run(ids).scalars().all()[number]
        if values:
            self.run(update(JobRow).where(JobRow.id == job_id).values(values))
        return job_id

    def workflow(self, workflow_id: uuid.UUID, **values: Any) -> None:
        self.run(update(WorkflowRow).where(WorkflowRow.id == workflow_id).values(values))

    def limit(self, name: str, **values: Any) -> None:
        self.run(update(LimitRow).where(LimitRow.name == name).values(values))

    def schedule(self, **values: Any) -> None:
        """Write a schedule."""
        times = {"every": 60, "timezone": "UTC", "overlap": "skip", "catch_up": 1, "catch_up_window": 60.0}
        what = {"id": uuid.uuid4(), "tenant": "acme", "name": "digest", "canvas": "{}", "digest": ""}
        self.run(insert(ScheduleRow).values(what | times | values))

    def hold(self, job_id: uuid.UUID, **values: Any) -> None:
        """Let an attempt at a job hold a slot of a limit of its own."""
        self.run(insert(LimitRow).values(name="left", declared=1, used=1))
        self.run(
            insert(HoldRow).values({"id": uuid.uuid4(), "name": "left", "job_id": job_id, "attempt": 1} | values)
        )

    def attempt(self, job_id: uuid.UUID, number: int, **values: Any) -> None:
        """Change one attempt in the history."""
        of_job = (AttemptRow.job_id == job_id, AttemptRow.number == number)
        self.run(update(AttemptRow).where(*of_job).values(values))

    def add_attempt(self, job_id: uuid.UUID, number: int, outcome: str) -> None:
        self.run(insert(AttemptRow).values(job_id=job_id, number=number, outcome=outcome))

    def forget(self, job_id: uuid.UUID, number: int) -> None:
        """Delete one attempt from the history."""
        self.run(delete(AttemptRow).where(AttemptRow.job_id == job_id, AttemptRow.number == number))

    def letter(self, **values: Any) -> None:
        """Change the dead letter of the scene's failed job."""
        self.run(
            update(DeadLetterRow).where(DeadLetterRow.job_id == self.job(self.busy_ledger.failed)).values(values)
        )

    def copy(self, table: Any, row_id: uuid.UUID, **values: Any) -> None:
        """Write a row once more, under another id, with other values."""
        row = self.run(select(table.__table__).where(table.id == row_id)).one()._mapping
        self.run(insert(table).values({**row, "id": uuid.uuid4(), **values}))

    def copy_letter(self, **values: Any) -> None:
        of_job = DeadLetterRow.job_id == self.job(self.busy_ledger.failed)
        self.copy(DeadLetterRow, self.run(select(DeadLetterRow.id).where(of_job)).scalar_one(), **values)

    def old_worker(self) -> None:
        """Enter a worker that has been there for long."""
        values = {"hostname": "old", "pid": 1, "started_at": HOURS_AGO, "lease_until": HOUR}
        self.run(insert(WorkerRow).values(id=uuid.uuid4(), **values))

    def event(self, workflow_id: uuid.UUID, job_id: uuid.UUID, attempt: int = 1) -> None:
        """Let a job emit an event."""
        of = {"workflow_id": workflow_id, "job_id": job_id, "attempt": attempt}
        self.run(insert(EventRow).values(number=1, kind="draft", data="null", **of))

    def drop_check(self, name: str) -> None:
        """Let the database accept what its constraint refuses, until the transaction's end."""
        if self.dialect == "sqlite":
            self.run(text("PRAGMA ignore_check_constraints = 1"))
        else:
            self.run(text(f"ALTER TABLE agentq_jobs DROP CONSTRAINT ck_agentq_jobs_{name}"))


def two_outcomes(spade: Spade) -> None:
    spade.attempt(spade.busy_ledger.second.job_id, 1, outcome="succeeded")


def attempt_after_end(spade: Spade) -> None:
    spade.attempt(spade.busy_ledger.again.job_id, 1, outcome="failed")


def end_without_outcome(spade: Spade) -> None:
    spade.forget(spade.job(spade.busy_ledger.done, 1), 1)


def outcome_without_end(spade: Spade) -> None:
    spade.attempt(spade.job(spade.busy_ledger.retried), 1, outcome="succeeded")


def attempt_not_ended(spade: Spade) -> None:
    spade.forget(spade.busy_ledger.again.job_id, 1)


def attempts_overlap(spade: Spade) -> None:
    spade.attempt(spade.busy_ledger.second.job_id, 1, finished_at=HOUR)


def runs_after_end(spade: Spade) -> None:
    spade.add_attempt(spade.job(spade.busy_ledger.running), 1, "lost")


def attempt_without_end(spade: Spade) -> None:
    spade.forget(spade.job(spade.busy_ledger.retried), 1)


def attempt_not_claimed(spade: Spade) -> None:
    spade.add_attempt(spade.job(spade.busy_ledger.queued), 1, "lost")


def attempts_beyond_limit(spade: Spade) -> None:
    spade.drop_check("attempts_bounded")
    spade.job(spade.busy_ledger.second.workflow_id, max_attempts=1)


def runs_without_attempt(spade: Spade) -> None:
    spade.job(spade.busy_ledger.running, claim_token=None)


def moved_after_end(spade: Spade) -> None:
    spade.job(spade.busy_ledger.done, 1, dispatched_at=HOUR)


def success_without_result(spade: Spade) -> None:
    spade.job(spade.busy_ledger.done, 1, result=None)


def refers_to_nothing(spade: Spade) -> None:
    spade.job(spade.busy_ledger.queued, after_id=uuid.uuid4())


def began_early(spade: Spade) -> None:
    spade.job(spade.busy_ledger.retried, 1, **QUEUED)


def began_before_step_ended(spade: Spade) -> None:
    spade.attempt(spade.job(spade.busy_ledger.done, 1), 1, started_at=HOURS_AGO)


def began_before_member_ended(spade: Spade) -> None:
    _, _, join, last = range(4)
    spade.job(spade.busy_ledger.fanned, join, finished_at=HOURS_AGO)
    spade.attempt(spade.job(spade.busy_ledger.fanned, last), 1, started_at=seconds_from_now(-3600.0))


def never_handed_over(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, BEHIND, **WAITS)


def waits_for_nothing(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, ALONE, **WAITS)


def join_at_work(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, JOIN, **QUEUED)


def join_fired_early(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, JOIN, **END, remaining=0)
    spade.job(spade.busy_ledger.branches, AFTER_JOIN, **QUEUED)


def join_never_fired(spade: Spade) -> None:
    member = spade.job(spade.busy_ledger.branches, MEMBER, **END, attempt=1, result="3")
    spade.add_attempt(member, 1, "succeeded")


def join_miscounted(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, JOIN, remaining=2)


def lacks_other_members(spade: Spade) -> None:
    spade.job(spade.busy_ledger.lacking, JOIN, missing=2)


def open_in_missing_member(spade: Spade) -> None:
    _, left, *_ = range(5)
    spade.job(spade.busy_ledger.partial, left, **WAITS, finished_at=None)


def counts_after_end(spade: Spade) -> None:
    spade.job(spade.busy_ledger.done, 1, remaining=1)


def members_misplaced(spade: Spade) -> None:
    spade.job(spade.busy_ledger.fanned, 1, position=7)


def expanded_wrongly(spade: Spade) -> None:
    spade.job(spade.busy_ledger.expanded, 0, result="[0, 1]")


def ended_wrongly(spade: Spade) -> None:
    spade.workflow(spade.busy_ledger.queued, **END)


def succeeded_unfinished(spade: Spade) -> None:
    stray = {"workflow_id": spade.busy_ledger.done, "is_last": False}
    spade.copy(JobRow, spade.job(spade.busy_ledger.queued), **stray)


def cancelled_unfinished(spade: Spade) -> None:
    spade.job(spade.busy_ledger.cancelled, -1, **WAITS, finished_at=None)


def runs_after_loss(spade: Spade) -> None:
    spade.job(spade.busy_ledger.branches, MEMBER, status="cancelled", finished_at=now())


def failed_without_cause(spade: Spade) -> None:
    spade.workflow(spade.busy_ledger.failed, failed_job_id=None)


def moved_after_success(spade: Spade) -> None:
    spade.workflow(spade.busy_ledger.done, finished_at=HOURS_AGO)


def never_ended(spade: Spade) -> None:
    spade.old_worker()
    spade.workflow(spade.busy_ledger.queued, deadline_at=HOURS_AGO)


def stuck(spade: Spade) -> None:
    behind = spade.job(spade.busy_ledger.retried, 1)
    spade.job(spade.busy_ledger.retried, 0, **WAITS, after_id=behind)  # each waits for the other


def without_last_job(spade: Spade) -> None:
    spade.job(spade.busy_ledger.queued, is_last=False)


def result_from_nowhere(spade: Spade) -> None:
    spade.workflow(spade.busy_ledger.done, result_job_id=spade.job(spade.busy_ledger.queued))


def of_another_tenant(spade: Spade) -> None:
    spade.job(spade.busy_ledger.done, tenant="evil")


def never_claimed(spade: Spade) -> None:
    spade.job(spade.busy_ledger.retried, due_at=None)


def leased_after_end(spade: Spade) -> None:
    spade.run(update(WorkerRow).where(WorkerRow.id == spade.busy_ledger.gone).values(lease_until=HOUR))


def never_rescued(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.running, worker_id=spade.busy_ledger.gone, started_at=HOURS_AGO)
    spade.run(update(WorkerRow).where(WorkerRow.id == spade.busy_ledger.gone).values(lease_until=HOURS_AGO))


def never_dispatched(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.retried, due_at=HOURS_AGO)


def never_timed_out(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.branches, JOIN, deadline_at=HOURS_AGO)


def never_expired(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.queued, expires_at=HOURS_AGO)


def failed_without_letter(spade: Spade) -> None:
    spade.run(delete(DeadLetterRow).where(DeadLetterRow.job_id == spade.job(spade.busy_ledger.failed)))


def two_open_letters(spade: Spade) -> None:
    spade.run(text("DROP INDEX uq_agentq_dead_letters_open"))
    spade.copy_letter()


def closed_without_action(spade: Spade) -> None:
    spade.run(delete(ActionRow).where(ActionRow.workflow_id == spade.busy_ledger.resolved))


def letter_of_living_job(spade: Spade) -> None:
    spade.copy_letter(job_id=spade.job(spade.busy_ledger.running), workflow_id=spade.busy_ledger.running)


def letter_misfiled(spade: Spade) -> None:
    spade.letter(tenant="evil")


def letter_never_recorded(spade: Spade) -> None:
    spade.old_worker()
    spade.letter(created_at=HOURS_AGO)


def letter_never_handled(spade: Spade) -> None:
    spade.old_worker()
    spade.letter(created_at=HOURS_AGO, recorded_at=now())


def a_loss_that_is_not_counted(spade: Spade) -> None:
    """A member failed, and its fan-in does not know."""
    spade.job(spade.busy_ledger.bereft, 0, is_missing=False)
    spade.job(spade.busy_ledger.bereft, JOIN, remaining=2, missing=0)


def a_loss_that_is_not_gone_on_from(spade: Spade) -> None:
    """A step failed that the next one does without, and that waits."""
    spade.job(spade.busy_ledger.best_effort, 1, **WAITS)


def a_fan_in_without_a_letter(spade: Spade) -> None:
    """As one was left that had too few members before there were dead letters of fan-ins."""
    error = {"error_category": None, "error_class": "agentq.MissingMembers", "error_message": "1 of its 2 members"}
    spade.job(spade.busy_ledger.lacking, JOIN, status="waiting", finished_at=None, **error)
    spade.run(delete(DeadLetterRow).where(DeadLetterRow.job_id == spade.job(spade.busy_ledger.lacking, JOIN)))


def a_job_that_waits_for_no_limit(spade: Spade) -> None:
    """A job stands in the line of a limit whose row is gone."""
    spade.old_worker()
    spade.job(spade.busy_ledger.blocked, blocked_on="gone", created_at=HOURS_AGO)


FURTHER: dict[str, tuple[Corrupt, set[str]]] = {
    "a loss that is not counted": (a_loss_that_is_not_counted, {"runs_after_loss"}),
    "a loss that is not gone on from": (a_loss_that_is_not_gone_on_from, {"never_handed_over", "stuck"}),
    "a fan-in without a letter": (a_fan_in_without_a_letter, {"join_never_fired", "failed_without_cause"}),
    "a job that waits for no limit": (a_job_that_waits_for_no_limit, {"blocked_by_nothing", "never_entered"}),
}
"""More ways to break a rule, and the rules that find them."""


def recorded_elsewhere(spade: Spade) -> None:
    spade.event(spade.busy_ledger.queued, spade.job(spade.busy_ledger.done))


def recorded_by_no_attempt(spade: Spade) -> None:
    spade.event(spade.busy_ledger.running, spade.job(spade.busy_ledger.running), attempt=2)


def slots_miscounted(spade: Spade) -> None:
    spade.limit("gpu", used=0)


def outstanding_miscounted(spade: Spade) -> None:
    spade.limit("model:small", outstanding=1)


def runs_unpaid(spade: Spade) -> None:
    spade.job(spade.busy_ledger.running, is_outstanding=True)


def over_its_slots(spade: Spade) -> None:
    spade.limit("model:small", declared=1)


def runs_without_slot(spade: Spade) -> None:
    spade.job(spade.busy_ledger.holding, limits=["model:small", "other"])


def blocked_by_nothing(spade: Spade) -> None:
    spade.job(spade.busy_ledger.blocked, blocked_by=None)


def never_entered(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.blocked, created_at=HOURS_AGO)
    spade.limit("model:small", is_awaited=False)


def never_given_back(spade: Spade) -> None:
    spade.old_worker()
    spade.run(insert(LimitRow).values(name="left", declared=1, used=1))
    ended = spade.job(spade.busy_ledger.retried, limits=["left"], held=1)
    spade.attempt(ended, 1, started_at=HOURS_AGO, finished_at=HOURS_AGO)


def hold_never_freed(spade: Spade) -> None:
    spade.old_worker()
    ended = spade.job(spade.busy_ledger.retried)
    spade.attempt(ended, 1, started_at=HOURS_AGO, finished_at=HOURS_AGO)
    spade.hold(ended, created_at=HOURS_AGO)


def hold_of_no_attempt(spade: Spade) -> None:
    spade.hold(spade.job(spade.busy_ledger.running), attempt=9)


def held_back_by_no_cap(spade: Spade) -> None:
    spade.job(spade.busy_ledger.queued, status="blocked", blocked_by="backlog")


def never_let_in(spade: Spade) -> None:
    spade.old_worker()
    spade.job(spade.busy_ledger.queued, tenant="calm")
    postponed = {"postponed_on": "max_open:calm", "max_open": 1, "created_at": HOURS_AGO}
    spade.workflow(spade.busy_ledger.queued, tenant="calm", **postponed)


def kept_for_nobody(spade: Spade) -> None:
    spade.limit("model:small", kept_for=spade.job(spade.busy_ledger.holding))


def rate_exceeded(spade: Spade) -> None:
    limit = {"name": "paced", "rate": 7, "rate_per": 60.0, "rate_burst": 1}
    spade.run(insert(LimitRow).values(limit))
    for retried in (spade.job(spade.busy_ledger.retried), spade.job(spade.busy_ledger.done)):
        spade.run(update(JobRow).where(JobRow.id == retried).values(limits=["paced"], pays=True))


def over_its_ramp(spade: Spade) -> None:
    spade.limit("model:small", cooldown_until=now(), ramp=1, carried=0)


def carried_miscounted(spade: Spade) -> None:
    spade.limit("model:small", cooldown_until=now(), ramp=1, carried=9)


def tick_without_its_key(spade: Spade) -> None:
    spade.workflow(spade.busy_ledger.queued, key="schedule:digest", scheduled_for=text("'2026-01-01 00:00:00'"))


def never_started(spade: Spade) -> None:
    spade.old_worker()
    spade.schedule(since=seconds_from_now(-9000.0), next_at=HOURS_AGO)


def started_for_another_tick(spade: Spade) -> None:
    spade.schedule(since=now(), next_at=HOUR, last_tick=now(), last_workflow_id=spade.busy_ledger.queued)


def cools_without_ramp(spade: Spade) -> None:
    spade.limit("model:small", cooldown_until=HOUR)
