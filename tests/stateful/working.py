"""Rules: messages arrive once, twice or never; attempts end, end again, and end too late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule

from agentq.ledger import attempts, moves
from agentq.ledger.caretaking import redelivery
from agentq.ledger.db.types import AnyRow
from agentq.ledger.records import Dispatch, dispatch_of
from agentq.outcomes import Fail, Leave, Outcome, RetryLater, Succeed
from agentq.states import AttemptOutcome, JobKind, JobStatus
from tests.stateful.base import WORKERS, LedgerMachine, given_any, harmless, some
from tests.stateful.model import Holding, Message
from tests.stateful.snapshot import can_be_claimed
from tests.support.fake_worker import FAILURE, FakeWorker, Recorded, _call

_COUNTS = st.integers(1, 8)
_PAUSES = st.sampled_from([0.0, 600.0])
ELSEWHERE = "a worker whose code fits"
_LEFT = Leave(FAILURE, 0, ELSEWHERE)
_OUTCOMES: dict[AttemptOutcome | None, Outcome] = {
    AttemptOutcome.RETRIED: RetryLater(FAILURE, 0),
    AttemptOutcome.RELEASED: _LEFT,
    AttemptOutcome.FAILED: Fail(FAILURE),
}


class Working(LedgerMachine):
    """The actions of workers."""

    @given_any(lambda machine: machine.model.messages)
    @rule(count=st.integers(1, 4), newest_first=st.booleans(), worker=WORKERS)
    def receive(self, count: int, newest_first: bool, worker: int) -> None:
        for message in self._take(count, newest_first):
            self._claim(message.dispatch, self.workers[worker])

    @harmless
    @given_any(lambda machine: machine.model.messages)
    @rule(message=some(lambda machine: machine.model.messages), worker=WORKERS)
    def receive_a_copy(self, message: Message, worker: int) -> None:
        self._claim(message.dispatch, self.workers[worker])

    @harmless
    @given_any(lambda machine: machine.model.messages)
    @rule(message=some(lambda machine: machine.model.messages))
    def receive_under_a_wrong_name(self, message: Message) -> None:
        wrong = replace(message.dispatch, step="wrong", kind=JobKind.STEP)
        assert self.look(lambda: self.caretaker.claim(wrong)) is None

    @given_any(lambda machine: machine.model.messages)
    @rule(count=_COUNTS, worker=WORKERS)
    def work_oldest_first(self, count: int, worker: int) -> None:
        for message in self._take(count, newest_first=False):
            self._work(message, worker)

    @given_any(lambda machine: machine.model.messages)
    @rule(count=_COUNTS, worker=WORKERS)
    def work_newest_first(self, count: int, worker: int) -> None:
        for message in self._take(count, newest_first=True):
            self._work(message, worker)

    @given_any(lambda machine: machine.model.messages)
    @rule(
        message=some(lambda machine: machine.model.messages),
        worker=WORKERS,
        end=st.sampled_from(["complete", "retry", "fail", "leave"]),
        pause=_PAUSES,
    )
    def work_on_one(self, message: Message, worker: int, end: str, pause: float) -> None:
        self.model.messages.remove(message)
        holding = self._claim(message.dispatch, self.workers[worker])
        if holding is None:
            return
        match end:
            case "complete":
                self.complete(holding)
            case "retry":
                self.retry(holding, pause)
            case "fail":
                self.fail(holding)
            case "leave":
                self.leave(holding, pause)

    @harmless
    @given_any(lambda machine: machine.model.holdings)
    @rule(holding=some(lambda machine: machine.model.holdings))
    def claim_again_after_a_lost_reply(self, holding: Holding) -> None:
        job = self.seen.jobs[holding.claim.job_id]
        self._claim(dispatch_of(job), holding.worker, holding.token)

    @given_any(lambda machine: machine.model.claimed())
    @rule(count=st.integers(1, 4))
    def complete_some(self, count: int) -> None:
        for holding in self.model.claimed()[:count]:
            self.complete(holding)

    @given_any(lambda machine: machine.model.claimed())
    @rule(holding=some(lambda machine: machine.model.claimed()))
    def complete(self, holding: Holding) -> None:
        result = json.dumps(_call(holding.claim))
        self._record(holding, Succeed(result))
        holding.record(AttemptOutcome.SUCCEEDED, result)

    @given_any(lambda machine: machine.model.claimed())
    @rule(holding=some(lambda machine: machine.model.claimed()), pause=_PAUSES)
    def retry(self, holding: Holding, pause: float) -> None:
        job = self.seen.jobs[holding.claim.job_id]
        if job.attempt >= job.max_attempts:
            self.fail(holding)
            return
        self._record(holding, RetryLater(FAILURE, pause))
        holding.record(AttemptOutcome.RETRIED)

    @given_any(lambda machine: machine.model.claimed())
    @rule(holding=some(lambda machine: machine.model.claimed()))
    def fail(self, holding: Holding) -> None:
        self._record(holding, Fail(FAILURE))
        holding.record(AttemptOutcome.FAILED)

    @given_any(lambda machine: machine.model.claimed())
    @rule(holding=some(lambda machine: machine.model.claimed()), pause=_PAUSES)
    def leave(self, holding: Holding, pause: float) -> None:
        """For a live worker whose code fits, without a pause: then the worker that leaves it sends the message."""
        was = self.seen.jobs[holding.claim.job_id]
        left = Leave(FAILURE, pause, ELSEWHERE)
        assert self.move(lambda: holding.worker.record(holding.claim, left), was.workflow_id) == Recorded(True)
        holding.record(AttemptOutcome.RELEASED)
        job = self.seen.jobs[was.id]
        assert (job.status, job.due_reason) == (JobStatus.SCHEDULED if pause else JobStatus.QUEUED, ELSEWHERE)
        assert job.max_attempts - job.attempt == was.max_attempts - was.attempt + 1, "a leave cost one"
        if not pause:
            self.write(lambda tx: redelivery.pass_on(tx, [was.id]), was.workflow_id)
            self.send(self.dispatched)

    @harmless
    @given_any(lambda machine: machine.model.recorded())
    @rule(holding=some(lambda machine: machine.model.recorded()))
    def record_again_after_a_lost_reply(self, holding: Holding) -> None:
        outcome = _outcome_of(holding)
        recorded = self.look(lambda: holding.worker.record(holding.claim, outcome))
        assert recorded.accepted
        self._check_undispatched(holding, recorded.dispatches)
        self.send(recorded.dispatches)

    @harmless
    @given_any(lambda machine: machine.model.stale())
    @rule(
        holding=some(lambda machine: machine.model.stale()),
        outcome=st.sampled_from([Succeed("666"), RetryLater(FAILURE, 0), Fail(FAILURE), _LEFT]),
    )
    def record_too_late(self, holding: Holding, outcome: Outcome) -> None:
        assert self.look(lambda: holding.worker.record(holding.claim, outcome)) == Recorded(False)

    def _work(self, message: Message, worker: int) -> None:
        holding = self._claim(message.dispatch, self.workers[worker])
        if holding is not None:
            self.complete(holding)

    def _take(self, count: int, newest_first: bool) -> Iterator[Message]:
        """Take so many messages out of the broker, with those that come meanwhile."""
        while count and self.model.messages:
            yield self.model.messages.pop(-1 if newest_first else 0)
            count -= 1

    def _claim(self, dispatched: Dispatch, worker: FakeWorker, token: int | None = None) -> Holding | None:
        """Claim, which must work exactly if it should; returns the holding where it is a new one."""
        job, token = self.seen.jobs[dispatched.job_id], token or moves.new_claim_token()
        is_mine = job.status == JobStatus.RUNNING and job.claim_token == token
        if not is_mine and not (can_be_claimed(job) and dispatched.queue == job.queue):
            assert self.look(lambda: worker.claim(dispatched, token)) is None
            self._drop(job)
            return None
        claim = self.move(lambda: worker.claim(dispatched, token), job.workflow_id)
        assert claim is not None, f"a job that should be claimed is not: {job}"
        assert (claim.job_id, claim.tenant, claim.worker_id) == (job.id, job.tenant, worker.worker_id)
        assert claim.attempt == (job.attempt if is_mine else job.attempt + 1)
        if is_mine:
            return None
        holding = Holding(claim, worker, token, self.model.labels[job.id])
        self.model.holdings.append(holding)
        return holding

    def _drop(self, job: AnyRow) -> None:
        """A useless message publishes the jobs that its job's worker may have left undispatched."""
        if job.status == JobStatus.SUCCEEDED:
            self.send(self.ledger.read(lambda c: attempts.queued_successors(c, job.id)))

    def _record(self, holding: Holding, outcome: Outcome) -> None:
        claim = holding.claim
        recorded = self.move(lambda: holding.worker.record(claim, outcome), claim.workflow_id)
        assert recorded.accepted, "the outcome of the worker that runs the job was refused"
        self.publish(recorded.dispatches)

    def _check_undispatched(self, holding: Holding, dispatches: tuple[Dispatch, ...]) -> None:
        """Of the messages that are dispatched once more none is wrong, and the next step's is among them."""
        waiting = {job.id: job for job in self.seen.having(JobStatus.QUEUED)}
        dispatched = {dispatch.job_id for dispatch in dispatches}
        assert dispatched <= {key for key, job in waiting.items() if job.workflow_id == holding.claim.workflow_id}
        if holding.ended == AttemptOutcome.SUCCEEDED:
            assert {key for key, job in waiting.items() if job.after_id == holding.claim.job_id} <= dispatched


def _outcome_of(holding: Holding) -> Outcome:
    if holding.result is not None:
        return Succeed(holding.result)
    return _OUTCOMES[holding.ended]
