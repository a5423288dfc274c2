"""Operators look at limits and change them: what is admitted then, and what is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import group
from sqlalchemy import update

from agentq.exceptions import AgentqError, InvalidArguments, NotFound, StateConflict
from agentq.ledger import limits as ledger_limits
from agentq.ledger import overrides
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import LimitRow
from agentq.ledger.overrides import NewMeters
from agentq.ledger.queries import limits as queries
from agentq.operations import jobs, limits, tenants, workflow_waits
from tests.support import copied_ledger
from tests.support.limited import BLOCKED, QUEUED, SLOTS, SUCCEEDED, LimitedWorker, ask, render, train

SMALL = "model:small"
WHY = "a new contract"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


@pytest.fixture(scope="module")
def long_line(ledger_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], str]]:
    """The condition of the job at a place of a line that is longer than the places that are counted."""
    with copied_ledger(ledger_template, tmp_path_factory.mktemp("line")) as url:
        worker = LimitedWorker(url)
        worker.begin_all([group([ask.s()] * (SLOTS + queries.MOST + 1))])
        line = jobs.list_(worker.ledger, jobs.JobFilter(waiting_for=SMALL), limit=2_000, oldest_first=True)
        yield lambda place: str(line[place - 1].waiting_for)
        worker.ledger.close()


def fill(worker: LimitedWorker) -> None:
    """A caretaker's round."""
    ledger_limits.fill(worker.ledger)


def change(worker: LimitedWorker, slots: int, **options: Any) -> Any:
    """Change the slots of the one limit, as a command does: in a process that has no way to the broker."""
    with worker.dying():
        return limits.change(worker.ledger, SMALL, slots, reason=WHY, actor="ana", **options)


class TestLooking:
    def test_a_limit_is_listed_with_its_slots_and_the_jobs_that_hold_or_await_one(
        self, worker: LimitedWorker
    ) -> None:
        worker.begin_all([ask.s()] * (SLOTS + 3))
        worker.begin_all([ask.s("large")])
        first, second = limits.list_(worker.ledger)
        assert first.model_dump() == {
            "name": SMALL,
            "slots": SLOTS,
            "declared": SLOTS,
            "at_once": SLOTS,
            "rate": None,
            "declared_rate": None,
            "tokens": None,
            "declared_tokens": None,
            "sources": {"slots": "code", "rate": None, "tokens": None},
            "declared_sources": {"slots": "code", "rate": None, "tokens": None},
            "cooldown": None,
            "override": None,
            "used": SLOTS,
            "waiting": 3,
            "is_capped": False,
        }
        assert (second.name, second.used, second.waiting) == ("model:large", 1, 0)
        assert limits.list_(worker.ledger, limit=1) == [first]

    def test_counting_a_line_stops_and_says_so(self, worker: LimitedWorker) -> None:
        worker.begin_all([group([ask.s()] * (SLOTS + queries.MOST + 1))])
        (found,) = limits.list_(worker.ledger)
        assert (found.waiting, found.is_capped) == (queries.MOST, True)
        (line,) = limits.get(worker.ledger, SMALL).tenants
        assert (line.waiting, line.is_capped) == (queries.MOST, True)

    def test_a_limit_is_shown_with_its_line_by_tenant_in_the_order_of_their_turns(
        self, worker: LimitedWorker
    ) -> None:
        tenants.set_weight(worker.ledger, "big", 4)
        worker.begin_all([ask.s()] * (SLOTS + 2), tenant="acme")
        worker.begin_all([ask.s()] * 3, tenant="big")
        worker.end(worker.next())
        shown = limits.get(worker.ledger, SMALL).tenants
        assert [(line.tenant, line.waiting, line.weight) for line in shown] == [("big", 3, 4), ("acme", 1, 1)]
        assert shown[0].served < shown[1].served

    def test_the_jobs_that_hold_a_slot_run_or_are_queued(self, worker: LimitedWorker) -> None:
        running, queued, _ = worker.begin_all([ask.s()] * (SLOTS + 1))
        worker.begin_all([ask.s("large"), render.s()])
        assert worker.next().job_id == running
        assert [job.id for job in limits.get(worker.ledger, SMALL).holders] == [queued, running]

    def test_a_job_that_keeps_a_slot_while_it_waits_holds_it(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()] * SLOTS)
        [keeper] = worker.begin_all([train.s()])
        worker.set(keeper, refused=3, blocked_on="gpu")
        ledger_limits.enter(worker.ledger, "gpu", "acme")
        assert worker.statuses([keeper]) == [BLOCKED]
        assert [job.id for job in limits.get(worker.ledger, "gpu").holders] == [keeper]
        assert len(limits.get(worker.ledger, SMALL).holders) == SLOTS

    def test_an_unknown_limit_is_named_with_the_nearest_one(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()])
        with pytest.raises(NotFound, match=r"'model:smal'\. Did you mean 'model:small'\?"):
            limits.get(worker.ledger, "model:smal")

    def test_a_name_that_no_ledger_keeps_is_refused(self, worker: LimitedWorker) -> None:
        with pytest.raises(InvalidArguments, match="NUL"):
            limits.get(worker.ledger, "a\0b")


class TestChanging:
    def test_more_slots_admit_the_next_jobs_in_a_caretakers_round(self, worker: LimitedWorker) -> None:
        jobs = worker.begin_all([ask.s()] * (SLOTS + 3))
        done = change(worker, SLOTS + 2)
        assert (done.before, done.after, done.until, done.actor, done.reason) == (2, 4, None, "ana", WHY)
        assert worker.statuses(jobs[SLOTS:]) == [BLOCKED] * 3
        fill(worker)
        assert worker.statuses(jobs[SLOTS:]) == [QUEUED] * 2 + [BLOCKED]
        assert worker.limit(SMALL).used == SLOTS + 2

    def test_more_slots_admit_the_next_jobs_at_once_where_their_messages_can_be_published(
        self, worker: LimitedWorker
    ) -> None:
        jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
        limits.change(worker.ledger, SMALL, SLOTS + 1, reason=WHY)
        assert worker.queued() == jobs

    def test_fewer_slots_admit_no_job_until_fewer_run(self, worker: LimitedWorker) -> None:
        jobs = worker.begin_all([ask.s()] * (SLOTS + 2))
        change(worker, SLOTS - 1)
        fill(worker)
        assert (limits.get(worker.ledger, SMALL).used, worker.queued()) == (SLOTS, jobs[:SLOTS])
        worker.end(worker.next())
        fill(worker)
        assert worker.statuses(jobs) == [SUCCEEDED, QUEUED, BLOCKED, BLOCKED]
        worker.end(worker.next())
        assert worker.statuses(jobs) == [SUCCEEDED, SUCCEEDED, QUEUED, BLOCKED]

    def test_a_paused_limit_admits_no_job_until_it_is_resumed(self, worker: LimitedWorker) -> None:
        jobs = worker.begin_all([ask.s()] * (SLOTS + 2))
        limits.pause(worker.ledger, SMALL, reason="the provider is down", actor="ana")
        for _ in range(SLOTS):
            worker.end(worker.next())
        fill(worker)
        assert worker.statuses(jobs) == [SUCCEEDED] * SLOTS + [BLOCKED] * 2
        shown = limits.get(worker.ledger, SMALL)
        assert (shown.slots, shown.used, shown.override and shown.override.reason) == (
            0,
            0,
            "the provider is down",
        )
        done = limits.resume(worker.ledger, SMALL)
        assert (done.before, done.after) == (0, SLOTS)
        assert worker.statuses(jobs) == [SUCCEEDED] * SLOTS + [QUEUED] * 2
        assert limits.get(worker.ledger, SMALL).override is None

    def test_at_the_end_of_an_override_the_declared_slots_hold_again(self, worker: LimitedWorker) -> None:
        jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
        done = limits.pause(worker.ledger, SMALL, reason=WHY, until=7_200)
        assert done.until is not None
        assert timedelta(hours=1.9) < done.until - datetime.now(UTC) < timedelta(hours=2.1)
        worker.end(worker.next())
        fill(worker)
        assert worker.statuses(jobs) == [SUCCEEDED, QUEUED, BLOCKED]
        end = update(LimitRow).values(override_until=seconds_from_now(-1))
        worker.ledger.write(lambda tx: tx.connection.execute(end))
        fill(worker)
        assert worker.statuses(jobs) == [SUCCEEDED, QUEUED, QUEUED]
        shown = limits.get(worker.ledger, SMALL)
        assert (shown.slots, shown.override) == (SLOTS, None)

    def test_an_override_may_end_at_a_time(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()])
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)
        assert change(worker, 7, until=end).until == end
        override = limits.get(worker.ledger, SMALL).override
        assert override is not None
        assert (override.slots, override.until) == (7, end)

    def test_the_changes_are_kept_the_last_one_first(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()])
        change(worker, 5)
        limits.pause(worker.ledger, SMALL, reason="down")
        limits.clear(worker.ledger, SMALL)
        shown = limits.get(worker.ledger, SMALL).changes
        assert [(one.before, one.after, one.reason) for one in shown] == [
            (0, SLOTS, "no reason given"),
            (5, 0, "down"),
            (SLOTS, 5, WHY),
        ]

    def test_a_change_whose_commit_got_no_answer_is_found_again(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()])
        who: dict[str, Any] = {"actor": "ana", "reason": WHY, "action_id": uuid.uuid4()}
        first, again = (
            worker.ledger.write(lambda tx: overrides.change(tx, SMALL, NewMeters(5), None, **who))
            for _ in range(2)
        )
        assert first == again
        back: dict[str, Any] = {**who, "action_id": uuid.uuid4(), "is_resume": False}
        first, again = (worker.ledger.write(lambda tx: overrides.clear(tx, SMALL, **back)) for _ in range(2))
        assert first == again
        assert len(limits.get(worker.ledger, SMALL).changes) == 2

    def test_what_is_not_overridden_is_not_cleared_and_what_is_not_paused_is_not_resumed(
        self, worker: LimitedWorker
    ) -> None:
        worker.begin_all([ask.s()])
        with pytest.raises(StateConflict, match="is as declared, but must be overridden"):
            limits.clear(worker.ledger, SMALL)
        with pytest.raises(StateConflict, match="is as declared, but must be paused"):
            limits.resume(worker.ledger, SMALL)
        change(worker, 5)
        with pytest.raises(StateConflict, match=f"Clear its override with: agentq limits clear {SMALL}"):
            limits.resume(worker.ledger, SMALL)
        assert limits.get(worker.ledger, SMALL).slots == 5

    @pytest.mark.parametrize(
        ("options", "error", "said"),
        [
            ({"slots": -1}, InvalidArguments, "slots is -1; it must be a whole number from 0"),
            ({"slots": 1.5}, InvalidArguments, "slots is 1.5"),
            ({"slots": True}, InvalidArguments, "slots is True"),
            ({"slots": 1_000_001}, InvalidArguments, "slots is 1000001"),
            ({"reason": " "}, InvalidArguments, "a reason is needed"),
            (
                {"until": datetime(2020, 1, 1, tzinfo=UTC)},
                InvalidArguments,
                "would end at 2020-01-01 00:00:00 UTC",
            ),
            ({"until": datetime(2090, 1, 1)}, InvalidArguments, "give it a time zone"),
            ({"until": 0}, InvalidArguments, "must be over 0"),
            ({"until": float("inf")}, InvalidArguments, "must be over 0"),
            ({"name": "modle:small"}, NotFound, "Did you mean 'model:small'"),
            ({"name": "a\0b"}, InvalidArguments, "NUL"),
        ],
        ids=str,
    )
    def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(
        self, worker: LimitedWorker, options: dict[str, Any], error: type[AgentqError], said: str
    ) -> None:
        worker.begin_all([ask.s()])
        with pytest.raises(error, match=said):
            limits.change(worker.ledger, **{"name": SMALL, "slots": 3, "reason": WHY} | options)
        shown = limits.get(worker.ledger, SMALL)
        assert (shown.slots, shown.changes) == (SLOTS, [])


def waiting_for(worker: LimitedWorker, job_id: uuid.UUID) -> str | None:
    """The condition of a job."""
    return jobs.summary(worker.ledger, str(job_id)).waiting_for


class TestWaiting:
    def test_a_blocked_job_says_the_limit_its_use_and_the_place_among_those_of_its_tenant(
        self, worker: LimitedWorker
    ) -> None:
        of_acme = worker.begin_all([ask.s()] * (SLOTS + 2))
        [of_other] = worker.begin_all([ask.s()], tenant="other")
        [urgent] = worker.begin_all([ask.s()], priority=9)
        ahead, *_ = of_acme
        assert waiting_for(worker, ahead) == "a free worker on queue 'celery'"
        expected = {
            urgent: "1st of tenant acme",
            of_acme[SLOTS]: "2nd of tenant acme",
            of_acme[SLOTS + 1]: "3rd of tenant acme",
            of_other: "1st of tenant other",
        }
        for job_id, place in expected.items():
            assert waiting_for(worker, job_id) == f"slots of {SMALL}, 2 of 2, {place}"
        listed = jobs.list_(worker.ledger, jobs.JobFilter(waiting_for=SMALL))
        assert {job.id for job in listed} == expected.keys()
        assert jobs.list_(worker.ledger, jobs.JobFilter(waiting_for="model:large")) == []
        with pytest.raises(InvalidArguments, match="NUL"):
            jobs.list_(worker.ledger, jobs.JobFilter(waiting_for="a\0b"))

    def test_jobs_are_cancelled_by_the_limit_that_they_wait_for(self, worker: LimitedWorker) -> None:
        all_ = worker.begin_all([ask.s()] * (SLOTS + 2))
        worker.begin_all([ask.s("large")])
        done = jobs.cancel_all(worker.ledger, jobs.JobFilter(waiting_for=SMALL), reason="enough")
        assert [job.id for job in done.done] == all_[SLOTS:]
        assert jobs.list_(worker.ledger, jobs.JobFilter(waiting_for=SMALL)) == []

    @pytest.mark.parametrize(
        ("place", "words"),
        [
            *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th")),
            *((21, "21st"), (111, "111th"), (112, "112th"), (122, "122nd"), (1000, "1000th")),
            (1001, "after the 1000th"),
        ],
    )
    def test_the_place_is_an_ordinal_up_to_the_thousandth(
        self, long_line: Callable[[int], str], place: int, words: str
    ) -> None:
        assert long_line(place) == f"slots of {SMALL}, 2 of 2, {words} of tenant acme"

    def test_a_job_of_a_paused_limit_says_by_whom_and_why(self, worker: LimitedWorker) -> None:
        *_, blocked = worker.begin_all([ask.s()] * (SLOTS + 1))
        limits.pause(worker.ledger, SMALL, reason="the provider\nis down", actor="ana")
        assert waiting_for(worker, blocked) == f"slots of {SMALL}, paused by ana: the provider is down"
        until = limits.pause(worker.ledger, SMALL, reason="down", actor="ben", until=60).until
        assert (
            waiting_for(worker, blocked)
            == f"slots of {SMALL}, paused by ben until {until:%Y-%m-%d %H:%M:%S} UTC: down"
        )

    def test_who_waits_for_a_workflow_with_a_blocked_job_learns_the_limit(self, worker: LimitedWorker) -> None:
        worker.begin_all([ask.s()] * SLOTS)
        [blocked] = worker.begin_all([ask.s()])
        said = workflow_waits.explanation(worker.ledger, str(worker.job(blocked).workflow_id))
        assert f"waits for slots of {SMALL}, 2 of 2, 1st of tenant acme." in said


class TestTenants:
    def test_a_weight_is_set_and_set_again(self, worker: LimitedWorker) -> None:
        tenants.set_weight(worker.ledger, "acme", 4)
        tenants.set_weight(worker.ledger, "beta", 0.5)
        assert tenants.set_weight(worker.ledger, "acme", 2).weight == 2
        found = tenants.list_(worker.ledger)
        assert [(one.tenant, one.weight) for one in found] == [("acme", 2), ("beta", 0.5)]
        assert tenants.list_(worker.ledger, limit=1) == found[:1]

    @pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), 1e-300, 1_001, True, "4"], ids=str)
    def test_a_weight_that_makes_no_sense_is_refused(self, worker: LimitedWorker, weight: Any) -> None:
        with pytest.raises(InvalidArguments, match=r"it must be from 0\.001 to 1000"):
            tenants.set_weight(worker.ledger, "acme", weight)
        assert tenants.list_(worker.ledger) == []

    @pytest.mark.parametrize("tenant", ["", "a" * 256, "a\nb", None], ids=str)
    def test_a_name_that_no_tenant_can_have_is_refused(self, worker: LimitedWorker, tenant: Any) -> None:
        with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
            tenants.set_weight(worker.ledger, tenant, 1)
