"""The end of a run: all messages are lost, all workers die, and one healthy worker brings all to its end.

Then what is dead is replayed, and has to succeed too.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence

from sqlalchemy import select

from agentq.ids import new_id
from agentq.ledger import dead_letters, postponed, tenants
from agentq.ledger.caretaking import due_jobs, expiry, redelivery, rescues
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import DeadLetterRow, JobRow
from agentq.ledger.records import Dispatch
from agentq.ledger.transaction import Transaction
from agentq.states import FAN_INS, JOB_MOVING, RUNNABLE, DeadLetterStatus, JobStatus, WorkflowStatus
from tests.stateful.auditing import audit_fully
from tests.stateful.model import Model, Running
from tests.stateful.snapshot import Snapshot, check_kept, is_past, open_of, take_snapshot, waiting_of
from tests.support.fake_worker import FakeWorker, _call, decided

MOST_ROUNDS = 100
"""More than all the canvases that are let in one after the other have jobs one after the other."""
_ALL = 1000
_GRACE = 5.0
_AGES = {JobStatus.SCHEDULED: {"due_at": 1.0}, JobStatus.QUEUED: {"dispatched_at": 100 * _GRACE}}


def bring_to_an_end(ledger: Ledger, workers: Sequence[FakeWorker], model: Model) -> None:
    """Run all workflows to their end, in so many rounds at most, and check that the end is the right one."""
    for worker in workers:
        worker.renew(-1)
    healthy = FakeWorker(ledger)
    healthy.write(lambda tx: _open_one(tx, {workflow.tenant for workflow in model.workflows}))
    _drain(healthy)
    healthy.write(_replay_all)
    after = _drain(healthy)
    assert ledger.read(audit_fully) == []
    for workflow in model.workflows:
        expired = [job for job in after.of(workflow.id) if is_past(job.expires_at)]
        may_be = workflow.id in model.cancelled or bool(expired)
        check_end(healthy, workflow, after, may_be_cancelled=may_be)
        for job in after.of(workflow.id):
            given_up = DeadLetterStatus.CANCELLED in model.letters.get(job.id, ())
            assert job.status != JobStatus.FAILED or job.kind not in RUNNABLE or given_up, "a replay did not help"


def _drain(healthy: FakeWorker) -> Snapshot:
    """Let the healthy worker do all that can be done."""
    before = healthy.ledger.read(take_snapshot)
    rounds = 0
    while dispatches := _sweep(healthy):
        _run(healthy, dispatches)
        rounds += 1
        assert rounds <= MOST_ROUNDS, "a healthy worker never comes to an end"
    after = healthy.ledger.read(take_snapshot)
    check_kept(before, after)
    return after


def _open_one(tx: Transaction, whose: Collection[str]) -> None:
    """Let what is postponed in one after the other."""
    for tenant in whose:
        tenants.set_max_open(tx, tenant, 1, actor="ann", reason="an end", action_id=new_id())


def _let_in(ledger: Ledger) -> None:
    before = ledger.read(take_snapshot)
    postponed.let_all_in(ledger, "")
    after = ledger.read(take_snapshot)
    for tenant in {workflow.tenant for workflow in before.workflows.values()}:
        waiting, is_free = waiting_of(before, tenant), open_of(before, tenant) == 0
        assert waiting_of(after, tenant) == (waiting[1:] if is_free else waiting)


def _replay_all(tx: Transaction) -> None:
    """Replay all that is dead and that a worker can run."""
    letters = select(DeadLetterRow.job_id).join(JobRow, JobRow.id == DeadLetterRow.job_id)
    is_dead = (DeadLetterRow.status == DeadLetterStatus.OPEN, JobRow.kind.in_(sorted(RUNNABLE)))
    for job_id in tx.connection.scalars(letters.where(*is_dead)).all():
        assert job_id is not None
        dead_letters.replay(tx, job_id, actor="ann", reason="once more")


def _publish_all(tx: Transaction) -> None:
    for queue in redelivery.queues_with_unclaimed(tx.connection, _GRACE):
        redelivery.redispatch(tx, queue, _GRACE, _ALL)


def _sweep(fake: FakeWorker) -> list[Dispatch]:
    """Do what a caretaker does, after a pause in which all times came."""
    ledger = fake.ledger
    fake.write(lambda tx: rescues.rescue_lost(tx, decided(0), _ALL))
    _let_in(ledger)
    for job in ledger.read(take_snapshot).having(*_AGES):
        fake.age(job.id, **_AGES[JobStatus(job.status)])
    fake.write(lambda tx: expiry.expire(tx, _ALL))
    dispatches = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, _ALL)) + fake.dispatched_by(_publish_all)
    found = ledger.read(take_snapshot)
    return [dispatch for dispatch in dispatches if not is_stranded(found.jobs[dispatch.job_id], found)]


def _run(fake: FakeWorker, dispatches: list[Dispatch]) -> None:
    """Run what was dispatched and what follows from it."""
    ready, seen = list(dispatches), set[uuid.UUID]()
    while ready:
        dispatch = ready.pop(0)
        assert dispatch.job_id not in seen, "a message was dispatched twice without need"
        seen.add(dispatch.job_id)
        claimed = fake.claim(dispatch)
        if claimed is not None:
            ready += fake.succeed(claimed, _call(claimed)).dispatches


def is_stranded(job: AnyRow, found: Snapshot) -> bool:
    """A job that expires in a failed workflow waits for a replay, and then cancels it."""
    failed = found.workflows[job.workflow_id].status == WorkflowStatus.FAILED
    return failed and job.status in JOB_MOVING and is_past(job.expires_at)


def check_end(fake: FakeWorker, workflow: Running, found: Snapshot, *, may_be_cancelled: bool) -> None:
    """Check that a workflow has ended as what happened to it demands."""
    row, jobs = found.workflows[workflow.id], found.of(workflow.id)
    failed = {job.id for job in jobs if job.status == JobStatus.FAILED}
    open_jobs = [job for job in jobs if job.status in JOB_MOVING and not is_stranded(job, found)]
    assert not open_jobs, f"{workflow} is {row.status} and no process will ever take {open_jobs[0]}"
    if may_be_cancelled and row.status == WorkflowStatus.CANCELLED:
        assert row.reason, "a workflow was cancelled without a reason"
        assert not [job for job in jobs if job.status == JobStatus.WAITING]
    elif failed:
        assert row.status == WorkflowStatus.FAILED
        assert row.failed_job_id in failed
        assert found.jobs[row.failed_job_id].error_category, "a workflow failed without a reason"
        _check_waiting(jobs, failed)
    else:
        assert workflow.shape.result is not None, f"{workflow} succeeded and must not"
        assert row.status == WorkflowStatus.SUCCEEDED
        assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
        assert fake.result(workflow.id) == workflow.shape.result(workflow.size)


def _check_waiting(jobs: Sequence[AnyRow], failed: set[uuid.UUID]) -> None:
    """A job that waits in a failed workflow waits, in the end, for a job that failed."""
    by_id = {job.id: job for job in jobs}
    members: dict[uuid.UUID, list[uuid.UUID]] = {}
    for job in jobs:
        members.setdefault(job.join_id, []).append(job.id)

    def is_blocked(job_id: uuid.UUID) -> bool:
        job = by_id[job_id]
        if job.status != JobStatus.WAITING:
            return job_id in failed
        waits_for = [job.after_id] if job.after_id is not None else []
        if job.kind in FAN_INS:
            waits_for += members.get(job_id, [])
        return any(is_blocked(other) for other in waits_for)

    for job in jobs:
        assert job.status != JobStatus.WAITING or is_blocked(job.id), f"nothing that failed holds up {job}"
