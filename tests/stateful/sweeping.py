"""Rules: leases end, times come, messages are lost; caretakers put it right. A person cancels."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import update

from agentq.ledger import cancels, losses, queue_moves, revokes, workers
from agentq.ledger.caretaking import due_jobs, expiry, redelivery, rescues
from agentq.ledger.caretaking.rescues import Lost, RunningAttempt
from agentq.ledger.db.types import AnyRow, seconds_from_now
from agentq.ledger.models import WorkflowRow
from agentq.states import (
    JOB_AHEAD,
    JOB_EXPIRING,
    JOB_FINAL,
    JOB_OPEN,
    RUNNABLE,
    AttemptOutcome,
    JobStatus,
    WorkflowStatus,
)
from tests.stateful.base import ALL, WORKERS, LedgerMachine, given_any, some, some_job
from tests.stateful.model import Holding, Running
from tests.stateful.snapshot import is_past
from tests.support.fake_worker import decided

# Called with a small bound until nothing is left: which one comes first is nobody's promise.
_MOST = st.sampled_from([1, 2, ALL])
_GRACE = 5.0
_LONG_AGO = 100 * _GRACE
_MAY_RUN = JOB_OPEN | {JobStatus.FAILED}


def _lapsed(machine: LedgerMachine) -> list[int]:
    return [number for number, it in enumerate(machine.workers) if it.worker_id in machine.model.lapsed]


def _at_work(machine: LedgerMachine) -> list[int]:
    holders = {holding.worker.worker_id for holding in machine.model.claimed()} - machine.model.lapsed
    return [number for number, it in enumerate(machine.workers) if it.worker_id in holders]


def _delayed(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(JobStatus.SCHEDULED) if not is_past(job.due_at)]


def _limited(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(*JOB_OPEN) if job.deadline_at and not is_past(job.deadline_at)]


def _overdue(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(*JOB_OPEN) if is_past(job.deadline_at)]


def _running(machine: LedgerMachine) -> list[Running]:
    workflows = machine.model.workflows if machine.cancels == 0 else []
    return [item for item in workflows if machine.seen.workflows[item.id].status == WorkflowStatus.RUNNING]


def _due(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(JobStatus.SCHEDULED) if is_past(job.due_at)]


def _expiring(machine: LedgerMachine) -> list[AnyRow]:
    jobs = machine.seen.jobs.values()
    return [job for job in jobs if job.expires_at and not is_past(job.expires_at) and job.status in _MAY_RUN]


def _expired(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(*JOB_EXPIRING) if is_past(job.expires_at)]


def _silent(machine: LedgerMachine) -> list[AnyRow]:
    pause = timedelta(seconds=_LONG_AGO / 2)
    queued = [job for job in machine.seen.having(JobStatus.QUEUED) if not is_past(job.expires_at)]
    return [job for job in queued if is_past(job.dispatched_at + pause)]


def _just_dispatched(machine: LedgerMachine) -> list[AnyRow]:
    silent = set(_silent(machine))
    queued = [job for job in machine.seen.having(JobStatus.QUEUED) if not is_past(job.expires_at)]
    return [job for job in queued if job not in silent]


def _ahead(machine: LedgerMachine) -> list[AnyRow]:
    return [job for job in machine.seen.having(*JOB_AHEAD) if job.kind in RUNNABLE]


class Cancelling(LedgerMachine):
    """The cancels of people."""

    @precondition(lambda machine: len(machine.model.workflows) > 3 * machine.cancels)
    @rule(workflow=some(lambda machine: machine.model.workflows))
    def cancel(self, workflow: Running) -> None:
        self.cancels += 1
        was_running = self._status(workflow.id) == WorkflowStatus.RUNNING
        cancelled = self.write(
            lambda tx: cancels.cancel(tx, workflow.id, actor="ann", reason="too dear"), workflow.id
        )
        assert cancelled == was_running
        if cancelled:
            self._note_cancelled(workflow.id)
        else:
            assert self.seen == self.before

    def _status(self, workflow_id: uuid.UUID) -> str:
        return str(self.seen.workflows[workflow_id].status)

    def _note_cancelled(self, workflow_id: uuid.UUID) -> None:
        self.model.cancel(workflow_id)
        assert self._status(workflow_id) == WorkflowStatus.CANCELLED
        for job in self.before.of(workflow_id):
            expected = job.status if job.status in JOB_FINAL else JobStatus.CANCELLED
            assert self.seen.jobs[job.id].status == expected


class Sweeping(Cancelling):
    """The actions of time, caretakers and operators."""

    @given_any(_at_work)
    @rule(worker=some(_at_work), is_forgotten=st.booleans())
    def lease_ends(self, worker: int, is_forgotten: bool) -> None:
        self.look(lambda: self.workers[worker].renew(-1))
        self.model.lapsed.add(self.workers[worker].worker_id)
        if is_forgotten:
            self.look(lambda: self.ledger.write(lambda tx: workers.forget_gone(tx, 0.5)))

    @given_any(_lapsed)
    @rule(worker=some(_lapsed))
    def lease_is_renewed(self, worker: int) -> None:
        self.look(lambda: self.workers[worker].renew(600))
        self.model.lapsed.discard(self.workers[worker].worker_id)

    @given_any(lambda machine: machine.model.lapsed)
    @rule(most=_MOST, pause=st.sampled_from([0.0, 600.0]))
    def rescue_lost(self, most: int, pause: float) -> None:
        while self._rescue(most, pause) == most:
            pass

    def _rescue(self, most: int, pause: float) -> int:
        lost = self.model.lost()
        rescued = self.write(lambda tx: rescues.rescue_lost(tx, decided(pause), most), *_workflows(lost))
        assert len(rescued) == min(most, len(lost))
        self._note_rescued(rescued, lost)
        return len(rescued)

    @given_any(lambda machine: machine.model.claimed())
    @rule(holding=some(lambda machine: machine.model.claimed()))
    def rescue_abandoned(self, holding: Holding) -> None:
        worker_id, claim = holding.worker.worker_id, holding.claim
        abandoned = {RunningAttempt(claim.job_id, claim.attempt): losses.WORKER_LOST}
        rescued = self.write(
            lambda tx: rescues.rescue_abandoned(tx, worker_id, abandoned, decided(0)), claim.workflow_id
        )
        assert {lost.attempt for lost in rescued} == set(abandoned)
        self._note_rescued(rescued, [holding])

    @given_any(lambda machine: machine.model.claimed())
    @rule(worker=WORKERS)
    def stop_a_worker(self, worker: int) -> None:
        fake = self.workers[worker]
        claimed = [item for item in self.model.claimed() if item.worker is fake]
        given_back = self.write(lambda tx: rescues.release_all(tx, fake.worker_id), *_workflows(claimed))
        assert {job.job_id for job in given_back} == _jobs(claimed)
        self.model.end(_jobs(claimed), AttemptOutcome.RELEASED)
        for job_id in _jobs(claimed):
            was, job = self.before.jobs[job_id], self.seen.jobs[job_id]
            assert job.max_attempts - job.attempt == was.max_attempts - was.attempt + 1, "a release cost one"
        self.publish(self.dispatched)
        self.look(lambda: self.ledger.write(lambda tx: workers.sign_off(tx, fake.worker_id)))
        self.model.lapsed.add(fake.worker_id)

    @given_any(_delayed)
    @rule(job=some_job(_delayed))
    def time_comes(self, job: str) -> None:
        self._age(job, due_at=1)

    @given_any(_due)
    @rule(most=_MOST)
    def dispatch_due(self, most: int) -> None:
        while self._dispatch(most) == most:
            pass

    def _dispatch(self, most: int) -> int:
        due = {job.id for job in _due(self)}
        count = self.write(lambda tx: due_jobs.dispatch_due(tx, most), *self._workflows_of(due))
        assert {dispatch.job_id for dispatch in self.dispatched} <= due
        assert count == min(most, len(due))
        self.publish(self.dispatched)
        return count

    @given_any(_just_dispatched)
    @rule(job=some_job(_just_dispatched))
    def no_worker_comes(self, job: str) -> None:
        self._age(job, dispatched_at=_LONG_AGO)

    @given_any(_silent)
    @rule(most=_MOST, queue=st.sampled_from(["celery", "other"]), with_one_reserved=st.booleans())
    def redispatch(self, most: int, queue: str, with_one_reserved: bool) -> None:
        suspects = self.look(lambda: self.ledger.read(lambda c: redelivery.queues_with_unclaimed(c, _GRACE)))
        assert suspects == sorted({job.queue for job in _silent(self)})
        silent = sorted(job.id for job in _silent(self) if job.queue == queue)
        while self._redispatch(most, queue, silent[: int(with_one_reserved)]) == most:
            pass

    def _redispatch(self, most: int, queue: str, reserved: list[uuid.UUID]) -> int:
        wanted = {job.id for job in _silent(self) if job.queue == queue} - {*reserved}
        dispatches = self.write(
            lambda tx: redelivery.redispatch(tx, queue, _GRACE, most, None, reserved), *self._workflows_of(wanted)
        )
        assert {dispatch.job_id for dispatch in dispatches} <= wanted
        assert len(dispatches) == min(most, len(wanted))
        self.publish(self.dispatched)
        return len(dispatches)

    @given_any(_expiring)
    @rule(job=some_job(_expiring))
    def expiry_comes(self, job: str) -> None:
        self._age(job, expires_at=1)

    @given_any(_expired)
    @rule()
    def expire(self) -> None:
        expired = [
            job.workflow_id for job in _expired(self) if self._status(job.workflow_id) == WorkflowStatus.RUNNING
        ]
        late = set(expired)
        assert self.write(lambda tx: expiry.expire(tx, ALL), *late) == len(expired)
        for workflow_id in late:
            self._note_cancelled(workflow_id)

    @given_any(_limited)
    @rule(job=some_job(_limited))
    def deadline_comes(self, job: str) -> None:
        self._age(job, deadline_at=1)

    @given_any(_overdue)
    @rule(most=_MOST)
    def fail_overdue(self, most: int) -> None:
        while self._fail_overdue(most) == most:
            pass

    def _fail_overdue(self, most: int) -> int:
        overdue = _overdue(self)
        failed = self.write(
            lambda tx: expiry.end_overdue(tx, most), *self._workflows_of(job.id for job in overdue)
        )
        assert failed == min(most, len(overdue))
        taken = {job.id for job in overdue if self.seen.jobs[job.id].status == JobStatus.FAILED}
        assert len(taken) == failed
        self.model.end(taken, AttemptOutcome.FAILED)
        return failed

    @given_any(_running)
    @rule(workflow=some(_running))
    def workflow_is_overdue(self, workflow: Running) -> None:
        past = update(WorkflowRow).where(WorkflowRow.id == workflow.id).values(deadline_at=seconds_from_now(-1))
        self.cancels += 1
        self.write(lambda tx: tx.connection.execute(past), workflow.id)
        assert self.write(lambda tx: expiry.cancel_overdue(tx, 1), workflow.id) == 1
        self._note_cancelled(workflow.id)

    @given_any(
        lambda machine: machine.model.claimed() if len(machine.model.workflows) > 3 * machine.cancels else []
    )
    @rule(holding=some(lambda machine: machine.model.claimed()))
    def revoke_a_running_job(self, holding: Holding) -> None:
        """Its attempt may end; each worker that receives the revoke writes it, once for all."""
        self.cancels += 1
        was = self.seen.jobs[holding.claim.job_id]
        noted = 0 if is_past(was.expires_at) else 1
        for first in (True, False):
            self.write(lambda tx: revokes.revoke(tx, was.id, terminate=False), was.workflow_id)
            assert (self.dispatched, self.seen.jobs[was.id].status) == ((), JobStatus.RUNNING)
            actions = [len(found.others["agentq_actions"]) for found in (self.before, self.seen)]
            assert actions[1] - actions[0] == (noted if first else 0)
        assert is_past(self.seen.jobs[was.id].expires_at)

    @given_any(_ahead)
    @rule(job=some_job(_ahead), queue=st.sampled_from(["celery", "other"]))
    def move_job(self, job: str, queue: str) -> None:
        was = self.seen.jobs[self.model.job(job)]
        refused = self.write(
            lambda tx: queue_moves.move_job(tx, was.id, queue, actor="ann", reason="more workers there"),
            was.workflow_id,
        )
        moved = self.seen.jobs[was.id]
        assert (refused, moved.queue) == (None, queue)
        assert moved.status == (JobStatus.SCHEDULED if was.status == JobStatus.QUEUED else was.status)
        assert was.status != JobStatus.QUEUED or is_past(moved.due_at)

    def _age(self, label: str, **columns: float) -> None:
        job = self.seen.jobs[self.model.job(label)]
        self.move(lambda: self.caretaker.age(job.id, **columns), job.workflow_id)

    def _workflows_of(self, job_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
        return {self.seen.jobs[job_id].workflow_id for job_id in job_ids}

    def _note_rescued(self, rescued: list[Lost], lost: list[Holding]) -> None:
        taken = {job.attempt.job_id for job in rescued}
        assert taken <= _jobs(lost)
        for job_id in taken:
            was = self.before.jobs[job_id]
            spent = was.attempt >= was.max_attempts
            assert (self.seen.jobs[job_id].status == JobStatus.FAILED) == spent
        self.model.end(taken, AttemptOutcome.LOST)
        self.publish(self.dispatched)


def _jobs(holdings: list[Holding]) -> set[uuid.UUID]:
    return {holding.claim.job_id for holding in holdings}


def _workflows(holdings: list[Holding]) -> set[uuid.UUID]:
    return {holding.claim.workflow_id for holding in holdings}
