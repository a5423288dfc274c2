"""One run of the scenario in a forked child: to its end, or to the point where it crashes."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from agentq import AgentQ
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters, jobs
from agentq.operations.jobs import JobFilter
from agentq.states import JobStatus
from tests.support.clock import Clock
from tests.sweep import broker, world
from tests.sweep.diary import Diary
from tests.sweep.places import Place
from tests.sweep.points import Points
from tests.sweep.scenario import (
    BY_HAND,
    CLOSED,
    FORGOTTEN,
    GIVEN_UP,
    MISFITS,
    SHORT,
    TENANT,
    Scenario,
    Stage,
)
from tests.sweep.verdict import Verdict, judge
from tests.sweep.worker import SweptWorker

_MOST_SECONDS = 60
_MOST_IDLE = 30
"""The number of times that a worker may find nothing to do, and let time pass, until it must be over."""


@dataclass(frozen=True)
class Report:
    """The report of a run that did not crash."""

    points: int = 0
    names: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """The faults that the client found."""


class Runner:
    """Runs a scenario on one place, each time in a child of its own."""

    def __init__(self, place: Place, scenario: Scenario, breaking: Callable[[], None] | None = None) -> None:
        self.place = place
        self._scenario = scenario
        self.diary = Diary(place.folder / "diary")
        self._breaking = breaking
        self._app = Celery("swept", broker="memory://")
        self._app.conf.worker_enable_remote_control = False
        self._app.conf.worker_send_task_events = False
        self._agentq = AgentQ(self._app, ledger=place.url, tenant=TENANT)
        self._engine = self._agentq.ledger.engine
        self._points = Stage.points = Points(self.diary.last_words)
        self._points.find_in(self._engine)
        Stage.diary = self.diary
        broker.note_messages(self.diary)

    def warm_up(self) -> None:
        """Run to the end in this process, so that its children need not load and compile everything again."""
        self._begin()
        with self.diary.log.open("a") as log, redirect_stderr(log):
            self._play(None)
        self._agentq.ledger.close()
        gc.collect()
        gc.freeze()  # else each child's collector writes to, and so copies, all of this process's memory

    def run(self, crash_at: int | None) -> int:
        """Run from the beginning in a child; returns its exit code: CRASHED where it came to its point."""
        self._begin()
        return self._in_child(lambda: self._play(crash_at, naming=crash_at is None))

    def recover(self, crash_at: int | None = None, *, messages_kept: bool) -> int:
        """Let a fresh client and a fresh worker go on where another run crashed."""
        self.place.settle()
        return self._in_child(lambda: self._play(crash_at, messages_kept=messages_kept))

    def report(self) -> Report:
        """Return what the last run said, which did not crash."""
        return Report(**json.loads(self.diary.report.read_text()))

    def judge(self) -> Verdict:
        """Look at the ledger and at the diary from outside."""
        with self.place.engine.begin() as connection:
            return judge(connection, self.diary, self._scenario)

    def _begin(self) -> None:
        self.place.reset()
        self.diary.clear()

    def _play(self, crash_at: int | None, *, messages_kept: bool = False, naming: bool = False) -> None:
        points, clock = self._points, Clock()
        points.begin(crash_at, naming=naming)
        broker.restart(self._app)
        if messages_kept:
            broker.deliver_again(self.diary)
        wrong = self._start_all()
        worker = SweptWorker(
            self._agentq, clock, _Idle(self._agentq, self.diary, points, clock, len(self._scenario.ends))
        )
        worker.run()
        self.diary.report.write_text(json.dumps(vars(Report(points.count, points.names, wrong))))

    def _start_all(self) -> list[str]:
        """Be the client; one that comes again after a crash starts everything again, with the same keys."""
        wrong, known = [], self.diary.starts()
        for key, canvas in self._scenario.canvases.items():
            workflow = self._agentq.start(canvas.clone(), key=key)
            if key in known and (workflow.is_new or workflow.id != known[key]):
                wrong.append(f"workflow {key!r} was lost after its start")
            self.diary.add_start(key, workflow.id)
            if key == FORGOTTEN:
                broker.forget()
        return wrong

    def _in_child(self, work: Callable[[], None]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._settle_in()
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _settle_in(self) -> None:
        signal.alarm(_MOST_SECONDS)
        gc.disable()
        log = os.open(self.diary.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tempfile.tempdir = str(self.diary.folder)
        # What is compiled crosses the fork, connections do not.
        self._engine.dispose(close=False)
        self._agentq.ledger._engines[os.getpid()] = self._engine
        if self._breaking is not None:
            self._breaking()


class _Idle:
    """The world after the last message: an operator fixes and replays, and time passes.

    Until all is over, or it went on for too long.
    """

    def __init__(self, agentq: AgentQ, diary: Diary, points: Points, clock: Clock, workflows: int) -> None:
        self._workflows = workflows
        self._diary = diary
        self._agentq: Any = agentq
        self._ledger: Ledger = agentq.ledger
        self._points = points
        self._clock = clock
        self._times = 0

    def __call__(self) -> bool:
        self._times += 1
        with self._points.hidden():
            if self._times > _MOST_IDLE or world.is_over(self._ledger, self._workflows):
                return True
            letters = world.open_letters(self._ledger)
        for letter_id, about in letters:
            if about in GIVEN_UP:
                dead_letters.cancel(self._ledger, str(letter_id), actor="ann", reason="not worth it")
                continue
            if about in BY_HAND:
                self._do_by_hand(str(letter_id))
                continue
            if about in SHORT:
                dead_letters.resolve(self._ledger, str(letter_id), actor="ann", reason="it is enough")
                continue
            if about in MISFITS:
                dead_letters.edit(self._ledger, str(letter_id), args=[1], actor="ann", reason="a number")
            self._diary.fix()
            dead_letters.replay(self._ledger, str(letter_id), actor="ann", reason="fixed")
        with self._points.hidden():
            closed = jobs.list_(self._ledger, JobFilter(queue=CLOSED, status=JobStatus.QUEUED))
        for job in closed:
            jobs.move(self._ledger, str(job.id), "celery", actor="ann", reason="nobody consumes it")
        with self._points.hidden():
            world.let_time_pass(self._ledger, self._agentq.caretaker.worker_id)
        self._clock.put_forward(world.LONG)
        return False

    def _do_by_hand(self, letter_id: str) -> None:
        who = {"actor": "ann", "reason": "only a person can"}
        dead_letters.assign(self._ledger, letter_id, owner="ann", **who)
        dead_letters.edit(self._ledger, letter_id, args=["what it was about"], **who)
        dead_letters.resolve(self._ledger, letter_id, result="done by hand", **who)
