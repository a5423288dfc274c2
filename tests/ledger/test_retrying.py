"""The history of a job, on every ledger: attempts, deferrals and pauses, which no policy lets it exceed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from uuid import UUID

import pytest
from celery.exceptions import Reject
from celery.exceptions import Retry as CeleryRetry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from agentq.exceptions import Retry
from agentq.ledger import attempts, dead_letters
from agentq.ledger.caretaking import due_jobs, expiry, rescues
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import AttemptRow, DeadLetterRow
from agentq.ledger.records import Claim, dispatch_of
from agentq.outcomes import Cancelled, Fail, Leave, RetryLater
from agentq.policies import DEFAULT, NONE, Fixed, Policy, dump_policy, rule
from agentq.runtime.attempt.after_failure import outcome_of_error, outcome_of_loss
from agentq.states import JobStatus
from tests.policies.strategies import policies
from tests.support.fake_worker import FAILURE, FakeWorker, graph_of, started
from tests.support.steps import add

DEFER = RetryLater(FAILURE, 2.5, "as the provider asked", burns_attempt=False)
PAUSE = RetryLater(FAILURE, 1.5, "as the policy says")
ASKED = RetryLater(FAILURE, 40, "the step asked for it", is_asked=True)
LEFT = Leave(FAILURE, 2, "a worker that has it")
MOST_RELEASES = 10


class Refused(Exception):
    """An error of a provider's client."""

    def __init__(self, status: int, retry_after: float | None = None) -> None:
        super().__init__(f"{status}, again after {retry_after}")
        self.status_code = status
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


class Job:
    """A job of one workflow with a policy of its own, on a ledger, and the worker that runs it."""

    def __init__(self, fake: FakeWorker, policy: Policy | None = None, deadline: float | None = None) -> None:
        self.fake = fake
        self.policy = None if policy is None else json.dumps(dump_policy(policy))
        graph = graph_of(add.s(1, 2))
        graph.nodes[0].max_attempts = (policy or add.policy).attempts
        graph.nodes[0].deadline = deadline
        new = fake.ledger.write(lambda tx: started(tx, graph, tenant="acme", key=None, policy=self.policy))
        self.claimed: Claim = fake.take(*new.dispatches)

    @property
    def id(self) -> UUID:
        return self.claimed.job_id

    @property
    def row(self) -> AnyRow:
        return self.fake.job(self.id)

    @property
    def counted(self) -> int:
        row = self.row
        return int(row.attempt - row.attempts_before - row.uncounted)

    @property
    def letter(self) -> AnyRow:
        query = select(DeadLetterRow.__table__).where(DeadLetterRow.job_id == self.id)
        return self.fake.ledger.read(lambda c: c.execute(query).one())

    @property
    def errors(self) -> list[str | None]:
        """The categories of its attempts' errors."""
        query = select(AttemptRow.error_category).where(AttemptRow.job_id == self.id).order_by(AttemptRow.number)
        return self.fake.ledger.read(lambda c: [*c.scalars(query)])

    def record(self, later: RetryLater | Leave) -> None:
        """Record that the attempt failed, and begin the next one, whenever that is due."""
        assert self.fake.record(self.claimed, later).accepted
        self.go_on()

    def go_on(self) -> None:
        """Begin the next attempt."""
        self.fake.age(self.id, due_at=1)
        self.fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
        self.claimed = self.fake.take(dispatch_of(self.row))

    def decide(self, error: BaseException) -> RetryLater | Fail | Cancelled:
        return outcome_of_error(self.claimed, error, override=self.policy)

    def fail(self, error: BaseException) -> bool:
        """Let the attempt fail; say whether another one follows, and begin that."""
        outcome = self.decide(error)
        assert self.fake.record(self.claimed, outcome).accepted
        return self._is_alive()

    def lose(self) -> bool:
        """Let the worker of the attempt be lost; say whether another one follows, and begin that."""
        self.fake.renew(-1)
        rescued = self.fake.write(lambda tx: rescues.rescue_lost(tx, outcome_of_loss, 10))
        self.fake.renew(600)
        # Jobs of examples before, which were released often enough, may still be running.
        assert self.id in {job.attempt.job_id for job in rescued}
        return self._is_alive()

    def release(self) -> bool:
        """Let the worker of the attempt be stopped; another one follows."""
        self.fake.dispatched_by(lambda tx: rescues.release_all(tx, self.fake.worker_id))
        return self._is_alive()

    def _is_alive(self) -> bool:
        if self.row.status == JobStatus.FAILED:
            return False
        self.go_on()
        return True


def test_a_job_that_is_left_for_another_worker_has_all_that_it_had(fake: FakeWorker) -> None:
    job = Job(fake)
    job.record(DEFER)
    before = job.row
    job.record(LEFT)
    row = job.row
    assert (row.attempt, row.max_attempts, row.uncounted) == (3, before.max_attempts + 1, before.uncounted + 1)
    assert (row.waits, row.waited, row.paused) == (before.waits, before.waited, before.paused)
    assert job.counted == 1


def test_the_deadline_of_a_job_that_was_only_left_has_not_begun(fake: FakeWorker) -> None:
    job = Job(fake, deadline=600)
    assert fake.record(job.claimed, LEFT).accepted
    assert job.row.deadline_at is None
    job.go_on()
    job.record(PAUSE)
    began = job.row.deadline_at
    assert began is not None
    assert fake.record(job.claimed, LEFT).accepted
    assert job.row.deadline_at == began


def test_the_releases_of_a_job_in_a_row_are_counted(fake: FakeWorker) -> None:
    job = Job(fake)

    def left() -> int:
        return fake.ledger.read(lambda c: attempts.left_before(c, job.claimed, FAILURE.error_class)).times

    assert left() == 0
    job.record(LEFT)
    job.record(LEFT)
    assert left() == 2
    job.release()
    assert left() == 0
    job.record(LEFT)
    assert left() == 1


def test_a_deferral_raises_the_number_and_the_allowance(fake: FakeWorker) -> None:
    job = Job(fake)
    for number in (1, 2, 3):
        assert (job.claimed.attempt, job.claimed.deferrals) == (number, number - 1)
        assert job.claimed.max_attempts == add.policy.attempts + number - 1
        job.record(DEFER)
    assert fake.history(job.id) == [(1, "retried"), (2, "retried"), (3, "retried")]
    assert job.counted == 1


def test_pauses_and_deferrals_add_up_apart(fake: FakeWorker) -> None:
    job = Job(fake)
    for later in (DEFER, PAUSE, ASKED, DEFER, PAUSE):
        job.record(later)
        assert job.row.due_reason == later.reason
    claimed = job.claimed
    assert (claimed.deferrals, claimed.uncounted) == (2, 2)
    assert (claimed.paused, claimed.deferred) == (pytest.approx(3.0), pytest.approx(5.0)), (
        "no pause that the step asked for"
    )
    assert job.counted == 4


def test_a_pause_puts_off_the_next_attempt_by_the_ledgers_clock(fake: FakeWorker) -> None:
    job = Job(fake)
    fake.record(job.claimed, PAUSE)
    row = job.row
    assert row.status == JobStatus.SCHEDULED
    assert (row.due_at - row.dispatched_at).total_seconds() == pytest.approx(PAUSE.delay, abs=0.01)
    assert fake.claim(dispatch_of(row)) is None


def test_a_replay_starts_anew(fake: FakeWorker) -> None:
    job = Job(fake)
    for later in (DEFER, PAUSE):
        job.record(later)
    fake.fail(job.claimed)
    fake.write(lambda tx: dead_letters.replay(tx, job.id, actor="ann", reason="fixed", attempts=2))
    job.go_on()
    claimed = job.claimed
    assert (claimed.attempt, claimed.attempts_before, claimed.max_attempts) == (4, 3, 5)
    assert (claimed.uncounted, claimed.deferrals, claimed.paused, claimed.deferred) == (0, 0, 0, 0)
    assert job.fail(Refused(429, retry_after=1)), "a deferral"
    assert job.fail(Refused(500)), "the first of two"
    assert not job.fail(Refused(500)), "the second of two"
    assert [number for number, _ in fake.history(job.id)] == [1, 2, 3, 4, 5, 6]


def test_a_release_does_not_count(fake: FakeWorker) -> None:
    job = Job(fake, replace(DEFAULT, attempts=2))
    for _ in range(3):
        assert job.release()
    assert (job.claimed.attempt, job.claimed.uncounted, job.claimed.deferrals) == (4, 3, 0)
    assert job.fail(Refused(500))
    assert job.release()
    assert not job.fail(Refused(500))


def test_a_lost_attempt_counts_and_the_deferrals_before_it_do_not(fake: FakeWorker) -> None:
    job = Job(fake, replace(DEFAULT, attempts=2))
    for _ in range(3):
        assert job.fail(Refused(503, retry_after=1))
    assert job.lose()
    assert not job.lose()
    assert [outcome for _, outcome in fake.history(job.id)] == [*["retried"] * 3, "lost", "lost"]


def test_a_policy_may_defer_lost_attempts_within_its_deferrals(fake: FakeWorker) -> None:
    rules = (rule("defer", category="worker_lost", schedule=Fixed(10)),)
    job = Job(fake, Policy(rules=rules, attempts=1, deferrals=3, total_deferral=25))
    assert [job.lose(), job.lose(), job.lose()] == [True, True, True]
    assert (job.claimed.deferrals, job.claimed.deferred) == (3, pytest.approx(25)), "the last one was cut short"
    assert not job.lose()


def test_one_attempt_may_still_be_deferred(fake: FakeWorker) -> None:
    job = Job(fake, replace(DEFAULT, attempts=1))
    assert job.fail(Refused(429, retry_after=1))
    assert not job.fail(Refused(500))


@pytest.mark.parametrize("policy", [NONE, DEFAULT.with_retries(0)], ids=["none", "retries=0"])
def test_without_retries_the_body_runs_once(fake: FakeWorker, policy: Policy) -> None:
    for error in (
        Refused(429, retry_after=1),
        Refused(500),
        Retry(after=1),
        Reject(requeue=True),
        CeleryRetry(when=1),
    ):
        assert not Job(fake, policy).fail(error)
    assert not Job(fake, policy).lose()


def test_no_retry_is_scheduled_beyond_the_deadline(fake: FakeWorker) -> None:
    job = Job(fake)
    claim, asks = job.claimed, Refused(429, retry_after=100)
    assert isinstance(outcome_of_error(claim, asks, left=1_000), RetryLater)
    assert isinstance(outcome_of_error(claim, asks, left=99), Fail)


def test_a_rescue_after_the_deadline_fails_the_job(fake: FakeWorker) -> None:
    job = Job(fake)
    fake.age(job.id, deadline_at=1)
    assert not job.lose()
    assert (job.row.error_category, job.letter.error_category) == ("deadline_exceeded", "deadline_exceeded")
    assert job.errors == ["worker_lost"]


def test_a_deadline_that_leaves_no_time_for_another_attempt_is_what_the_job_died_of(fake: FakeWorker) -> None:
    job = Job(fake)
    fake.record(job.claimed, outcome_of_error(job.claimed, Refused(429, retry_after=100), left=99))
    assert (job.row.error_category, job.letter.error_category) == ("deadline_exceeded", "deadline_exceeded")
    assert (job.letter.error_class, job.errors) == (f"{__name__}.Refused", ["rate_limit"])
    assert str(job.row.due_reason).startswith("deadline_exceeded: after rate_limit the next attempt")
    taken = fake.ledger.read(lambda c: rescues.no_longer_owned(c, fake.worker_id, [job.id]))
    assert taken == {}, "the process that ended it is not to be stopped"


def test_a_deadline_that_passes_in_a_pause_is_what_the_job_died_of(fake: FakeWorker) -> None:
    job = Job(fake, deadline=600)
    fake.record(job.claimed, outcome_of_error(job.claimed, Refused(429, retry_after=100), left=500))
    fake.age(job.id, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    assert (job.row.error_category, job.letter.error_category) == ("deadline_exceeded", "deadline_exceeded")
    assert (job.row.due_reason, job.errors) == (None, ["rate_limit"]), "of no next attempt"


Play = Callable[[Job], bool]
"""Ends an attempt; says whether another one has begun."""


def _failing(status: int, retry_after: float | None) -> Play:
    return lambda job: job.fail(Refused(status, retry_after))


def _asking(after: float | None) -> Play:
    return lambda job: job.fail(Retry(after=after))


def _requeueing(job: Job) -> bool:
    return job.fail(Reject(requeue=True))


def _counting_down(job: Job) -> bool:
    return job.fail(CeleryRetry(when=5))


plays = (
    st.builds(_failing, st.sampled_from([429, 500, 503]), st.sampled_from([7, 30, 400, None]))
    | st.builds(_asking, st.none() | st.floats(0, 1_000))
    | st.sampled_from(
        [
            Job.lose,
            Job.release,
            lambda job: job.fail(Reject(requeue=True)),
            lambda job: job.fail(CeleryRetry(when=5)),
        ]
    )
)
RULES = (
    DEFAULT.rules,
    (
        rule("defer", has_retry_after=True),
        rule("defer", category="worker_lost"),
        rule("retry", status="5xx", limit=2),
    ),
    (rule("defer", status=[429, "5xx"], schedule=Fixed(7)), rule("retry", category="error", schedule=Fixed(0))),
)
numbers, seconds = st.integers(2, 6), st.sampled_from([50.0, 500.0, 5_000.0, 0.0])
persistent = st.builds(
    Policy,
    rules=st.sampled_from(RULES),
    attempts=numbers,
    total=seconds,
    deferrals=numbers,
    longest_deferral=seconds,
    total_deferral=seconds,
    spread=st.floats(0, 1),
)
any_policy = st.builds(
    lambda policy, attempts, deferrals: replace(policy, attempts=attempts, deferrals=deferrals),
    policies(),
    numbers,
    numbers,
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(policy=persistent | any_policy, failures=st.lists(plays, min_size=2, max_size=6))
def test_no_job_exceeds_its_policy(fake: FakeWorker, policy: Policy, failures: list[Play]) -> None:
    job = Job(fake, policy)
    releases = 0
    for play in cycle(failures):
        releases += play is Job.release
        is_alive = play(job)
        slack = 1e-6 * (1 + policy.total + policy.total_deferral)
        row = job.row
        assert job.counted <= policy.attempts
        assert row.waits <= policy.deferrals
        assert row.uncounted == row.waits + releases
        assert row.attempt <= policy.attempts + policy.deferrals + releases
        assert row.paused <= policy.total + slack
        assert row.waited <= policy.total_deferral + slack
        if not is_alive or releases > MOST_RELEASES:
            break
