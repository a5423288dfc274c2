"""Chaos: who is struck, when and how; chosen by a seed."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from types import TracebackType
from typing import Self

from soaking.crew import Crew
from soaking.services import Ways

STRIKE_WORKER, BREAK_BROKER, BREAK_LEDGER, CHANGE_LIMIT, COOL_LIMIT = 3.0, 30.0, 60.0, 5.0, 20.0
"""Seconds between two strikes of a kind."""
_FIRST_BREAK = 10.0
_LONGEST_OUTAGE = 3.0

Blow = Callable[[], None]


@dataclass
class _Turn:
    """Something that is done again and again, never twice at once where *alone* says so."""

    interval: float
    due_at: float
    choose: Callable[[], tuple[str, Blow] | None]
    alone: bool
    last: Future[None] | None = None

    @property
    def is_under_way(self) -> bool:
        return self.alone and self.last is not None and not self.last.done()


class Chaos:
    """Strikes whenever ``strike_due`` is called and the time has come; use it in a ``with``: all is fixed after.

    Args:
        crew: the workers.
        broker: how the broker is broken, every half minute.
        ledger: how the ledger's database is broken, every minute.
        change_limit: changes a limit, every 5 s.
        cool_limit: lets a limit cool, every 20 s.
        lease: the lease of the workers, which a freeze outlasts.
        executor: does it; its threads live as long as what they start, since some services end with their thread.
        seed: of all choices.
    """

    def __init__(
        self,
        crew: Crew,
        broker: Ways,
        ledger: Ways,
        executor: Executor,
        *,
        change_limit: Callable[[random.Random], None],
        cool_limit: Callable[[random.Random], None],
        lease: float,
        seed: int,
    ) -> None:
        self._crew = crew
        self._lease = lease
        self._random = random.Random(seed)
        self._executor = executor
        self._under_way: list[Future[None]] = []
        self.strikes: Counter[str] = Counter()
        """The number of strikes of each kind."""
        began = time.monotonic()
        self._turns = [
            _Turn(STRIKE_WORKER, began + STRIKE_WORKER, self._choose_worker, alone=False),
            _Turn(BREAK_BROKER, began + _FIRST_BREAK, partial(self._choose_way, cycle(broker.items())), True),
            _Turn(CHANGE_LIMIT, began + CHANGE_LIMIT, self._by_chance("limits changed", change_limit), True),
            _Turn(COOL_LIMIT, began + _FIRST_BREAK, self._by_chance("limits cooled", cool_limit), True),
            _Turn(BREAK_LEDGER, began + 2 * _FIRST_BREAK, partial(self._choose_way, cycle(ledger.items())), True),
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed = error is not None
        if not failed:
            done, _ = wait(self._under_way, return_when=FIRST_EXCEPTION)
            failed = any(future.exception() for future in done)
        if failed:
            self._crew.end()  # else, workers that cannot start any more would be waited for
        wait(self._under_way)
        if error is None:
            self._raise_errors()

    def strike_due(self) -> None:
        """Begin what is due; raises what an earlier strike raised: something could not be fixed."""
        self._raise_errors()
        for place in self._crew.take_deserted():
            self._under_way.append(self._executor.submit(self._crew.replace, place))
        for turn in self._turns:
            if time.monotonic() >= turn.due_at:
                turn.due_at += turn.interval
                self._strike(turn)

    def _strike(self, turn: _Turn) -> None:
        chosen = None if turn.is_under_way else turn.choose()
        if chosen is None:
            self.strikes["skipped"] += 1
            return
        name, blow = chosen
        self.strikes[name] += 1
        turn.last = self._executor.submit(blow)
        self._under_way.append(turn.last)

    def _choose_worker(self) -> tuple[str, Blow] | None:
        place = self._crew.take_ready(self._random.choice)
        if place is None:
            return None
        chance = self._random.random()
        if chance < 0.7:
            return "workers killed", partial(self._crew.kill, place)
        if chance < 0.85:
            return "workers frozen", partial(self._crew.freeze, place, self._lease + self._random.uniform(0.5, 3))
        return "workers stopped", partial(self._crew.stop, place)

    def _by_chance(self, name: str, blow: Callable[[random.Random], None]) -> Callable[[], tuple[str, Blow]]:
        return lambda: (name, partial(blow, random.Random(self._random.random())))

    def _choose_way(self, ways: cycle[tuple[str, Callable[[float], None]]]) -> tuple[str, Blow]:
        name, way = next(ways)
        return name, partial(way, self._random.uniform(0, _LONGEST_OUTAGE))

    def _raise_errors(self) -> None:
        ended = [future for future in self._under_way if future.done()]
        self._under_way = [future for future in self._under_way if not future.done()]
        for future in ended:
            future.result()
