"""The sweep: one run to find the points, one that takes a snapshot at each, and then recoveries from these.

At a few points a run really crashes, to see that it leaves what the snapshot has.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from tests.sweep.choice import real_crashes, sample
from tests.sweep.places import Place
from tests.sweep.points import BEFORE
from tests.sweep.run import CRASHED, Report, Runner
from tests.sweep.scenario import Scenario
from tests.sweep.snapshot import Snapshot, differences

_LOG_TAIL = 3_000


@dataclass(frozen=True)
class Crashes:
    """The crashes of a run and of its recoveries, and whether the broker keeps its messages then."""

    points: tuple[int, ...]
    messages_kept: bool
    is_real: bool = False

    def __str__(self) -> str:
        kept = "messages kept" if self.messages_kept else "messages lost"
        real = ", a real crash" if self.is_real else ""
        return f"{', then '.join(f'point {point}' for point in self.points)}, {kept}{real}"


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
    """At how many of the points a crash was recovered from."""
    recoveries: int = 0
    """How many it took: from equal snapshots one is enough."""
    real: list[int] = field(default_factory=list)
    """The points at which a run really crashed."""
    seconds: float = 0.0
    wrong: list[Wrong] = field(default_factory=list)

    def __str__(self) -> str:
        found = f"{len(self.wrong)} crashes were not recovered from" if self.wrong else "all recovered"
        real = f"real crashes at {', '.join(map(str, self.real)) or 'none'}"
        counts = f"{self.chosen} of {len(self.points)} points, {self.recoveries} recoveries, {real}"
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
        self._recovered: set[tuple[Snapshot, bool]] = set()
        self._result = Result()

    def run(
        self,
        *,
        only: Collection[int] = (),
        at: str = "",
        sampled: int | None = None,
        again: int = 0,
        stop: bool = False,
    ) -> Result:
        """Crash at every point, or *only* at some.

        The broker loses its messages in a crash after something, and keeps them in a crash before something.

        Args:
            only: the numbers of the points.
            at: a text that their names contain.
            sampled: at the points of this sample alone.
            again: crash at so many points of each recovery as well, taken at random.
            stop: end at the first thing that is wrong.
        """
        began = time.monotonic()
        self._find_points()
        snapshots = self._snapshots({*(only or self._points(at, sampled))})
        self._result.real = [*only] or sorted(random.sample([*snapshots], real_crashes(len(snapshots))))
        for point, snapshot in snapshots.items():
            self._result.chosen += 1
            for wrong in self._crash_at(point, snapshot, again):
                self._result.wrong.append(wrong)
                print(wrong, flush=True)
            if stop and self._result.wrong:
                break
        self._result.seconds = time.monotonic() - began
        return self._result

    def _points(self, at: str, sampled: int | None) -> Iterable[int]:
        names = self._reference.names
        points = range(len(names)) if sampled is None else sample(len(names), sampled)
        return (point for point in points if at in names[point])

    def _find_points(self) -> None:
        self._runner.warm_up()
        code = self._runner.run()
        assert code == 0, f"the run without a crash ended with {code}:{self._end_of_log()}"
        self._reference = self._runner.report()
        self._result.points = self._reference.names
        verdict = self._runner.judge()
        assert not verdict.wrong, f"wrong without any crash: {verdict.wrong}"
        wanted = self._scenario.outcomes
        assert verdict.outcomes >= wanted, f"no attempt was {wanted - verdict.outcomes}"
        self._attempts = verdict.attempts

    def _snapshots(self, points: Collection[int]) -> dict[int, Snapshot]:
        taken = [*self._runner.snapshots(points)]
        names, wanted = [name for name, _ in taken], [self._reference.names[point] for point in sorted(points)]
        assert names == wanted, f"two runs differ: {[*differences(wanted, names)]}{self._end_of_log()}"
        return dict(zip(sorted(points), (snapshot for _, snapshot in taken), strict=True))

    def _crash_at(self, point: int, snapshot: Snapshot, again: int) -> Iterator[Wrong]:
        kept = self._reference.names[point].startswith(BEFORE)
        if (snapshot, kept) not in self._recovered:
            self._recovered.add((snapshot, kept))
            yield from self._recover(Crashes((point,), kept), snapshot)
            points = self._runner.report().points if again and self._runner.diary.report.exists() else 0
            for second in sorted(random.Random(point).sample(range(points), min(again, points))):
                yield from self._recover(Crashes((point, second), kept), snapshot)
        if point in self._result.real:
            yield from self._crash_really(Crashes((point,), kept, is_real=True), snapshot)

    def _recover(self, crashes: Crashes, snapshot: Snapshot) -> Iterator[Wrong]:
        yield from self._wrong(crashes, self._recovery(crashes, snapshot))

    def _crash_really(self, crashes: Crashes, snapshot: Snapshot) -> Iterator[Wrong]:
        (point,) = crashes.points
        code = self._runner.run(point)
        if code != CRASHED:
            found = [f"the run ended with {code} before it came to the point:{self._end_of_log()}"]
            yield from self._wrong(crashes, found)
            return
        last_words = self._runner.diary.last_words.read_text()
        found = [*differences([self._reference.names[point]], [last_words])]
        left = self._runner.snapshot()
        found += differences(self._runner.describe(snapshot), self._runner.describe(left))
        yield from self._wrong(crashes, [*found, *self._recovery(crashes, left)])

    def _wrong(self, crashes: Crashes, found: Iterable[str]) -> Iterator[Wrong]:
        everything = tuple(found)
        if everything:
            yield Wrong(crashes, self._reference.names[crashes.points[0]], everything)

    def _recovery(self, crashes: Crashes, snapshot: Snapshot) -> Iterator[str]:
        """Recover from the first crash, and from those of its recoveries; yield what is wrong."""
        left: Snapshot | None = snapshot
        for crash_at in (*crashes.points[1:], None):
            self._result.recoveries += 1
            code = self._runner.recover(left, crash_at, messages_kept=crashes.messages_kept)
            if code != (0 if crash_at is None else CRASHED):
                yield f"the recovery ended with {code}, not at {crash_at or 'its end'}:{self._end_of_log()}"
                return
            left = None
        verdict = self._runner.judge()
        yield from (*self._runner.report().wrong, *verdict.wrong)
        most = self._attempts + len(crashes.points) * (1 + self._scenario.costs) + len(self._scenario.may_happen)
        if verdict.attempts > most:
            yield f"{verdict.attempts} attempts, where {most} are enough"

    def _end_of_log(self) -> str:
        return f"\n{self._runner.diary.log.read_text()[-_LOG_TAIL:]}"
