"""The sweep: one run to find the points, then for each point a run that crashes there and a recovery."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tests.sweep.choice import one_per_state, sample
from tests.sweep.places import Place
from tests.sweep.points import BEFORE, CRASHED
from tests.sweep.run import Report, Runner
from tests.sweep.scenario import Scenario

_LOG_TAIL = 3_000


@dataclass(frozen=True)
class Crashes:
    """The crashes of a run and of its recoveries, and whether the broker keeps its messages then."""

    points: tuple[int, ...]
    messages_kept: bool

    def __str__(self) -> str:
        kept = "messages kept" if self.messages_kept else "messages lost"
        return f"{', then '.join(f'point {point}' for point in self.points)}, {kept}"


@dataclass(frozen=True)
class Wrong:
    """The faults that a sweep found."""

    crashes: Crashes
    name: str
    found: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.crashes}: {self.name}" + "".join(f"\n    {item}" for item in self.found)


@dataclass
class Result:
    """The result of a sweep."""

    points: list[str] = field(default_factory=list)
    chosen: int = 0
    """At how many of the points it crashed."""
    crashes: int = 0
    runs: int = 0
    seconds: float = 0.0
    wrong: list[Wrong] = field(default_factory=list)

    def __str__(self) -> str:
        found = f"{len(self.wrong)} crashes were not recovered from" if self.wrong else "all recovered"
        counts = f"{self.chosen} of {len(self.points)} points, {self.crashes} crashes, {self.runs} runs"
        return f"{counts}, {self.seconds:.1f} s: {found}"


class Sweep:
    """A sweep of one scenario.

    Args:
        place: where.
        scenario: what is run.
        breaking: breaks the engine in each run, to see that the sweep finds it.
    """

    def __init__(self, place: Place, scenario: Scenario, *, breaking: Callable[[], None] | None = None) -> None:
        self._runner = Runner(place, scenario, breaking)
        self._scenario = scenario
        self._reference = Report()
        self._attempts = 0
        self._result = Result()

    def run(
        self,
        *,
        only: Collection[int] = (),
        at: str = "",
        each: bool = False,
        sampled: int | None = None,
        half: int = 0,
        again: int = 0,
        stop: bool = False,
    ) -> Result:
        """Crash at every point, or *only* at some, or at one of two where nothing happens between them.

        The point after one thing and the point before the next leave the same behind. The broker loses its
        messages in a crash after something, and keeps them in a crash before something.

        Args:
            only: the numbers of the points.
            at: a text that their names contain.
            each: at every point, so twice in each state: with messages lost and with messages kept.
            sampled: at the points of this sample alone.
            half: without these, of the two points of a state at the one of this half.
            again: crash at so many points of each recovery as well, taken at random.
            stop: end at the first thing that is wrong.
        """
        began = time.monotonic()
        self._find_points()
        for point in only or self._points(at, each, sampled, half):
            self._result.chosen += 1
            for wrong in self._crash_at(point, again):
                self._result.wrong.append(wrong)
                print(wrong, flush=True)
            if stop and self._result.wrong:
                break
        self._result.seconds = time.monotonic() - began
        return self._result

    def _points(self, at: str, each: bool, sampled: int | None, half: int) -> Iterable[int]:
        names = self._reference.names
        if sampled is not None:
            points: Iterable[int] = sample(len(names), sampled)
        else:
            points = range(len(names)) if each or at else one_per_state(names, half)
        return (point for point in points if at in names[point])

    def _find_points(self) -> None:
        self._runner.warm_up()
        code = self._run(None)
        assert code == 0, f"the run without a crash ended with {code}:{self._end_of_log()}"
        self._reference = self._runner.report()
        self._result.points = self._reference.names
        verdict = self._runner.judge()
        assert not verdict.wrong, f"wrong without any crash: {verdict.wrong}"
        wanted = self._scenario.outcomes
        assert verdict.outcomes >= wanted, f"no attempt was {wanted - verdict.outcomes}"
        self._attempts = verdict.attempts

    def _crash_at(self, point: int, again: int) -> Iterator[Wrong]:
        kept = self._reference.names[point].startswith(BEFORE)
        crashes = Crashes((point,), kept)
        yield from self._checked(crashes)
        points = self._runner.report().points if again and self._runner.diary.report.exists() else 0
        chosen = random.Random(point)
        for second in sorted(chosen.sample(range(points), min(again, points))):
            yield from self._checked(Crashes((point, second), kept))

    def _checked(self, crashes: Crashes) -> Iterator[Wrong]:
        found = list(self._crash_and_recover(crashes))
        if found:
            yield Wrong(crashes, self._reference.names[crashes.points[0]], tuple(found))

    def _crash_and_recover(self, crashes: Crashes) -> Iterator[str]:
        first, *others = crashes.points
        self._result.crashes += 1
        code = self._run(first)
        if code != CRASHED:
            yield f"the run ended with {code} before it came to the point:{self._end_of_log()}"
            return
        if self._last_words() != self._reference.names[first]:
            yield f"the run crashed elsewhere than the run without a crash says: {self._last_words()}"
        for point in others:
            code = self._recover(crashes, point)
            if code != CRASHED:
                yield f"the recovery ended with {code} before it came to the point:{self._end_of_log()}"
                return
        code = self._recover(crashes, None)
        if code != 0:
            yield f"the recovery ended with {code}:{self._end_of_log()}"
            return
        verdict = self._runner.judge()
        yield from (*self._runner.report().wrong, *verdict.wrong)
        most = self._attempts + len(crashes.points) * (1 + self._scenario.costs) + len(self._scenario.may_happen)
        if verdict.attempts > most:
            yield f"{verdict.attempts} attempts, where {most} are enough"

    def _run(self, crash_at: int | None) -> int:
        self._result.runs += 1
        return self._runner.run(crash_at)

    def _recover(self, crashes: Crashes, crash_at: int | None) -> int:
        self._result.runs += 1
        return self._runner.recover(crash_at, messages_kept=crashes.messages_kept)

    def _last_words(self) -> str:
        return self._runner.diary.last_words.read_text()

    def _end_of_log(self) -> str:
        return f"\n{self._runner.diary.log.read_text()[-_LOG_TAIL:]}"
