"""One run of the scenario in a forked child: to its end, or to the point where it crashes."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Container, Iterator
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe

from celery import Celery

from agentq import AgentQ
from tests.support.clock import Clock
from tests.sweep import broker, world
from tests.sweep.diary import Diary
from tests.sweep.idle import Idle
from tests.sweep.places import Place
from tests.sweep.points import Points
from tests.sweep.scenario import FORGOTTEN, Scenario
from tests.sweep.snapshot import Snapshot, describe
from tests.sweep.steps import TENANT, Stage
from tests.sweep.verdict import Verdict, judge
from tests.sweep.worker import SweptWorker

CRASHED = 137
"""The exit code of a run that crashed at its point: what a shell says of a process that was killed."""
_MOST_SECONDS = 60


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
        self._agentq = AgentQ(self._app, ledger=place.url, tenant=TENANT, max_open=scenario.max_open)
        self._engine = self._agentq.ledger.engine
        self._points = Stage.points = Points()
        self._points.find_in(self._engine)
        self._beginning = self.snapshot()
        Stage.diary = self.diary
        broker.note_messages(self.diary)

    def warm_up(self) -> None:
        """Run to the end in this process, so that its children need not load and compile everything again."""
        self.restore(self._beginning)
        with self.diary.log.open("a") as log, redirect_stderr(log):
            self._play()
            world.make_later(self._agentq.ledger, 0.0)
            self._start_all()
        self._agentq.ledger.close()
        gc.collect()
        gc.freeze()  # else each child's collector writes to, and so copies, all of this process's memory

    def run(self, crash_at: int | None = None) -> int:
        """Run from the beginning in a child; returns its exit code: CRASHED where it came to its point."""
        self.restore(self._beginning)
        return self._end_of(self._fork(lambda: self._play({crash_at}, self._crash, naming=crash_at is None)))

    def snapshots(self, points: Collection[int]) -> Iterator[tuple[str, Snapshot]]:
        """Run from the beginning in a child that waits at each of the points; yield its name and what is there."""
        self.restore(self._beginning)
        ours, theirs = Pipe()

        def wait(name: str) -> None:
            theirs.send(name)
            theirs.recv()

        child = self._fork(lambda: self._play(points, wait))
        theirs.close()
        with suppress(EOFError):
            while True:
                yield ours.recv(), self.snapshot()
                ours.send("go on")
        self._end_of(child)

    def snapshot(self) -> Snapshot:
        """Take what a crash would leave of the run that waits, or what one has left."""
        return Snapshot(self.place.snapshot(), self.diary.contents())

    def restore(self, snapshot: Snapshot) -> float:
        """Put it back, and return by how many seconds the ledger's times must become later."""
        self.place.restore(snapshot.ledger)
        seconds = snapshot.seconds_ago()
        self.diary.put_back(snapshot.diary, seconds)
        return seconds

    def recover(self, snapshot: Snapshot | None, crash_at: int | None = None, *, messages_kept: bool) -> int:
        """Let a fresh client and a fresh worker go on from a snapshot, or where another recovery crashed."""
        seconds = self.restore(snapshot) if snapshot else 0.0

        def play() -> None:
            with self._points.hidden():
                world.make_later(self._agentq.ledger, seconds)
            self._play({crash_at}, self._crash, messages_kept=messages_kept)

        return self._end_of(self._fork(play))

    def report(self) -> Report:
        """Return what the last run said, which did not crash."""
        return Report(**json.loads(self.diary.report.read_text()))

    def judge(self) -> Verdict:
        """Look at the ledger and at the diary from outside."""
        with self.place.engine.begin() as connection:
            return judge(connection, self.diary, self._scenario)

    def describe(self, snapshot: Snapshot) -> list[str]:
        """Describe what it has, in words that are the same for another run."""
        self.restore(snapshot)
        with self.place.engine.begin() as connection:
            return describe(connection, self.diary)

    def _play(
        self,
        stops: Container[int | None] = (),
        stop: Callable[[str], object] = str,
        *,
        messages_kept: bool = False,
        naming: bool = False,
    ) -> None:
        points, clock = self._points, Clock()
        points.begin(stops, stop, naming=naming)
        broker.restart(self._app)
        if messages_kept:
            broker.deliver_again(self.diary)
        wrong = self._start_all()
        idle = Idle(self._agentq, self.diary, points, clock, len(self._scenario.ends))
        SweptWorker(self._agentq, clock, idle).run()
        self.diary.report.write_text(json.dumps(vars(Report(points.count, points.names, wrong))))

    def _crash(self, name: str) -> None:
        self.diary.last_words.write_text(name)
        os._exit(CRASHED)

    def _start_all(self) -> list[str]:
        """Be the client; one that comes again after a crash starts everything again, with the same keys."""
        wrong, known = [], self.diary.starts()
        for key, canvas in self._scenario.canvases.items():
            workflow = self._agentq.start(canvas.clone(), key=key, on_full="postpone")
            if key in known and (workflow.is_new or workflow.id != known[key]):
                wrong.append(f"workflow {key!r} was lost after its start")
            self.diary.add_start(key, workflow.id)
            if key == FORGOTTEN:
                broker.forget()
        return wrong

    def _fork(self, work: Callable[[], None]) -> int:
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
        return pid

    def _end_of(self, child: int) -> int:
        status = os.waitpid(child, 0)[1]
        self.place.settle()
        return os.waitstatus_to_exitcode(status)

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
