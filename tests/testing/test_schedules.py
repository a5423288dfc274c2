"""Schedules in a test: the clock moves over ticks, and what is due is started."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery, Signature
from celery.beat import Scheduler

from agentq import AgentQ, Concurrency, Context, sleep, step
from agentq.exceptions import ScheduleError
from agentq.operations import schedules
from agentq.runtime.schedules.beat import BeatTimes
from agentq.testing.inline import Inline

HOURS = timedelta(hours=1)
FAR = datetime(2099, 1, 1, tzinfo=UTC)
seen: list[datetime | None] = []


@step
def note(ctx: Context, what: str = "") -> str:
    """Note the tick that it runs for."""
    seen.append(ctx.scheduled_for)
    return what


@step(limits=[Concurrency("scheduled-pen", limit=1)])
def draw(ctx: Context) -> None:
    """Note the tick, under a limit."""
    seen.append(ctx.scheduled_for)


@pytest.fixture
def app() -> AgentQ:
    """An app without schedules."""
    seen.clear()
    return AgentQ(Celery("scheduled", broker="redis://nowhere.invalid", set_as_current=False))


def test_the_clock_moves_over_each_tick(app: AgentQ) -> None:
    app.schedule("often", note.s("x"), every=6 * HOURS)
    with Inline(app.app) as inline:
        inline.advance(timedelta(days=2))
        assert len(seen) == 8
        assert all(tick is not None and tick.hour % 6 == 0 for tick in seen)
        assert schedules.get(inline.ledger, "often").started == 8


def test_a_step_of_a_plain_start_has_no_tick(app: AgentQ) -> None:
    with Inline(app.app):
        assert app.start(note.s("plain")).result() == "plain"
        assert seen == [None]


def test_the_result_of_a_workflow_is_awaited_without_each_tick_on_the_way(app: AgentQ) -> None:
    app.schedule("often", note.s("x"), every=timedelta(seconds=1))
    with Inline(app.app):
        late = app.start(note.s("late").set(countdown=3600))
        assert late.result(7200) == "late"
        assert len(seen) < 10


def test_a_step_with_a_limit_is_started_by_ticks(app: AgentQ) -> None:
    app.schedule("drawn", draw.s(), every=HOURS)
    with Inline(app.app) as inline:
        inline.advance(3 * HOURS)
    assert len(seen) == 3


def test_a_schedule_whose_canvas_cannot_be_started_is_paused_and_the_others_go_on(app: AgentQ) -> None:
    app.schedule("digest", note.s("old"), every=HOURS)
    with Inline(app.app) as inline:
        inline.run()
        app.schedules.clear()
        app.schedule("digest", note.s("too", "many"), every=HOURS)
        app.schedule("other", note.s("fine"), every=HOURS)
        broken, fine = app.apply_schedules()
        assert "cannot be started" in broken.error
        assert (fine.error, fine.action) == ("", "create")
        found = schedules.get(inline.ledger, "digest")
        assert found.pause is not None
        assert found.pause.actor == "agentq"
        inline.advance(2 * HOURS)
        assert schedules.get(inline.ledger, "other").started == 2
        assert schedules.get(inline.ledger, "digest").started == 0


@pytest.mark.parametrize(
    "canvas", [note.s("x").set(eta=FAR), note.s("x").set(expires=FAR), note.s("x") | sleep(until=FAR)]
)
def test_a_fixed_time_in_the_canvas_is_refused(app: AgentQ, canvas: Signature) -> None:
    app.schedule("digest", canvas, every=HOURS)
    with Inline(app.app):
        assert "has a fixed time" in app.apply_schedules()[0].error


def test_a_canvas_that_sleeps_sleeps_from_each_tick_on(app: AgentQ) -> None:
    app.schedule("slow", sleep(minutes=30) | note.si("x"), every=2 * HOURS)
    with Inline(app.app) as inline:
        inline.advance(6 * HOURS)
        assert schedules.get(inline.ledger, "slow").started == 3
    assert 2 <= len(seen) <= 3


class TestDeclarations:
    def test_the_same_declaration_twice_is_one(self, app: AgentQ) -> None:
        for _ in range(2):
            app.schedule("digest", note.s("x"), cron="30 2 * * *", timezone="Europe/Berlin")
        assert len(app.schedules) == 1

    @pytest.mark.parametrize(
        ("options", "difference"),
        [({"every": 2 * HOURS}, "timing"), ({"every": HOURS, "overlap": "allow"}, "overlap")],
    )
    def test_two_that_differ_are_refused(self, app: AgentQ, options: dict[str, object], difference: str) -> None:
        app.schedule("digest", note.s("x"), every=HOURS)
        with pytest.raises(ScheduleError, match=f"differ in {difference}"):
            app.schedule("digest", note.s("x"), **options)  # type: ignore[arg-type]
        with pytest.raises(ScheduleError, match="differ in canvas"):
            app.schedule("digest", note.s("y"), every=HOURS)
        app.schedule("digest", note.s("y"), every=HOURS, tenant="calm")

    @pytest.mark.parametrize("name", ["", "a b", "x" * 101, "-x", "a:b", 7, None])
    def test_a_name_out_of_bounds_is_refused(self, app: AgentQ, name: object) -> None:
        with pytest.raises(ScheduleError, match="a schedule's name is"):
            app.schedule(name, note.s("x"), every=HOURS)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"catch_up": -1}, "from 0 to 1000"),
            ({"catch_up": 1.5}, "from 0 to 1000"),
            ({"catch_up": True}, "from 0 to 1000"),
            ({"catch_up": "none"}, "from 0 to 1000"),
            ({"catch_up": 1001, "overlap": "allow"}, "from 0 to 1000"),
            ({"catch_up": 2}, "overlap='allow'"),
            ({"catch_up": "all"}, "overlap='allow'"),
            ({"catch_up_window": timedelta(seconds=5)}, "from 60 s to 31 days"),
            ({"catch_up_window": 60}, "from 60 s to 31 days"),
            ({"overlap": "sometimes"}, "'skip', 'queue', 'allow', 'cancel'"),
            ({"tenant": ""}, "1 to 255 printable"),
        ],
    )
    def test_options_that_make_no_sense_are_refused(
        self, app: AgentQ, options: dict[str, object], words: str
    ) -> None:
        with pytest.raises(ScheduleError, match=words):
            app.schedule("digest", note.s("x"), every=HOURS, **options)  # type: ignore[arg-type]
        assert app.schedules == {}

    def test_an_unknown_option_is_named(self, app: AgentQ) -> None:
        with pytest.raises(TypeError, match="no option 'evry'"):
            app.schedule("digest", note.s("x"), evry=HOURS)  # type: ignore[call-arg]

    def test_a_canvas_that_is_none_is_named_when_it_is_applied(self, app: AgentQ) -> None:
        app.schedule("digest", "note", every=HOURS)
        with Inline(app.app):
            assert "is no canvas" in app.apply_schedules()[0].error


class TestBeat:
    def test_its_entries_ring_at_the_ticks(self, app: AgentQ) -> None:
        app.schedule("digest", note.s("x"), every=HOURS)
        entry = app.beat_schedule()["agentq digest"]
        assert (entry["task"], entry["args"]) == ("agentq.tick", ("digest", None))
        rings = entry["schedule"]
        assert isinstance(rings, BeatTimes)
        assert pickle.loads(pickle.dumps(rings)) == rings  # beat keeps it in a file
        beat = Scheduler(app.app, lazy=True)
        app.app.conf.beat_schedule = app.beat_schedule()
        beat.setup_schedule()
        assert "agentq digest" in beat.schedule
        now = datetime.now(UTC)
        assert rings.is_due(now - 2 * HOURS).is_due
        assert not rings.is_due(now).is_due or rings.timing.after(now) <= datetime.now(UTC)
        assert 0 <= rings.is_due(now).next <= 3600

    def test_a_message_starts_nothing_that_is_not_due(self, app: AgentQ) -> None:
        app.schedule("digest", note.s("x"), every=HOURS)
        with Inline(app.app) as inline:
            inline.run()
            task = app.app.tasks["agentq.tick"]
            assert task("digest") == "not due"
            assert task("digest", "nobody") == "not due"
            assert task(7) == "refused"
            inline._clock.forward(7200)
            assert task("digest") == "started"
            assert task("digest") == "not due"
            inline.run()
        assert len(seen) == 1
