"""Breadth-first exploration: every state that can be reached, and the shortest way to a broken promise."""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise

from tests.model.faults import Troubled
from tests.model.promises import NO_DEAD_END, NO_LOOP, broken, is_end
from tests.model.protocol import Label
from tests.model.state import WORKER_NAMES, State, canonical, difference

Step = tuple[Label, str]
"""An action, and its changes."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """The shortest way from the start to a broken promise."""

    promise: str
    steps: tuple[Step, ...]
    loop: tuple[Step, ...] = ()
    """The actions that the engine can then repeat for ever."""

    def __str__(self) -> str:
        lines = [f"broken: {self.promise}", *(_line(number, *step) for number, step in enumerate(self.steps, 1))]
        if self.loop:
            lines.append("     and then, without an end:")
            lines += [_line(number, *step) for number, step in enumerate(self.loop, len(self.steps) + 1)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Exploration:
    """The result of an exploration."""

    states: int
    transitions: int
    seconds: float
    moves: frozenset[str]
    """The kinds of moves that were made at least once."""
    counterexample: Counterexample | None

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.transitions:,} transitions, {self.seconds:.1f} s"


def explore(protocol: Troubled, *, symmetric: bool = True) -> Exploration:
    """Visit every state that can be reached, or all before the first broken promise.

    *symmetric* counts states that differ in names only as one; without it, a counterexample reads better.
    """
    return _Search(protocol, canonical if symmetric else bytes).run()


class _Search:
    def __init__(self, protocol: Troubled, freeze: Callable[[bytearray], State]) -> None:
        self._protocol = protocol
        self._freeze = freeze
        self._states = [protocol.initial()]
        self._numbers = {self._states[0]: 0}
        self._parents = array("l", [-1])
        # The moves that the engine makes by itself, as a list of pairs.
        self._sources, self._targets = array("l"), array("l")
        self._fault_moves = 0
        self._texts: set[str] = set()

    def run(self) -> Exploration:
        began = time.process_time()
        counterexample = self._visit_all() or self._find_loop()
        return Exploration(
            states=len(self._states),
            transitions=len(self._sources) + self._fault_moves,
            seconds=time.process_time() - began,
            moves=frozenset(self._texts),
            counterexample=counterexample,
        )

    def _visit_all(self) -> Counterexample | None:
        initial = self._states[0]
        for number, state in enumerate(self._states):  # which grows meanwhile
            promise = broken(state, initial)
            if promise is None and not self._visit(number, state) and not is_end(state):
                promise = NO_DEAD_END
            if promise is not None:
                return Counterexample(promise, self._steps_to(number))
        return None

    def _visit(self, number: int, state: State) -> bool:
        """Note all that can come next; returns whether the engine can do anything by itself."""
        moves_before = len(self._sources)
        for label, new in self._protocol.moves(state):
            self._sources.append(number)
            self._targets.append(self._number(number, self._freeze(new)))
            self._texts.add(label[0])
        for label, new in self._protocol.faults(state):
            self._fault_moves += 1
            self._number(number, self._freeze(new))
            self._texts.add(label[0])
        return len(self._sources) > moves_before

    def _number(self, parent: int, state: State) -> int:
        number = self._numbers.setdefault(state, len(self._states))
        if number == len(self._states):
            self._states.append(state)
            self._parents.append(parent)
        return number

    def _find_loop(self) -> Counterexample | None:
        """Find where the engine can go on for ever by itself: what is left when all that ends is taken away."""
        left = without_ends(range(len(self._states)), self._sources, self._targets)
        left = without_ends(left, self._targets, self._sources)
        for number in sorted(left):
            way_back = self._way_back(number, left)
            if way_back:
                loop = tuple(self._step(before, after) for before, after in pairwise(way_back))
                return Counterexample(NO_LOOP, self._steps_to(number), loop)
        return None

    def _way_back(self, number: int, within: set[int]) -> list[int]:
        """Return the shortest way from a state to itself by the engine's moves; empty where there is none."""
        ways = deque([[number]])
        seen = set()
        while ways:
            way = ways.popleft()
            for _, new in self._protocol.moves(self._states[way[-1]]):
                following = self._numbers[self._freeze(new)]
                if following == number:
                    return [*way, number]
                if following in within and following not in seen:
                    seen.add(following)
                    ways.append([*way, following])
        return []

    def _steps_to(self, number: int) -> tuple[Step, ...]:
        steps = []
        while (parent := self._parents[number]) >= 0:
            steps.append(self._step(parent, number))
            number = parent
        return tuple(reversed(steps))

    def _step(self, number: int, following: int) -> Step:
        before, after = self._states[number], self._states[following]
        moves = (*self._protocol.moves(before), *self._protocol.faults(before))
        label = next(label for label, new in moves if self._freeze(new) == after)
        return label, difference(before, after)


def without_ends(numbers: Collection[int], sources: array[int], targets: array[int]) -> set[int]:
    """Return those of the given numbers from which one can go on for ever, along pairs of source and target."""
    left = set(numbers)
    degree = dict.fromkeys(left, 0)
    following, first = array("l", [-1]) * len(sources), dict.fromkeys(left, -1)
    for move, (source, target) in enumerate(zip(sources, targets, strict=True)):
        if source in left and target in left:
            degree[source] += 1
            following[move], first[target] = first[target], move
    ended = [number for number in numbers if not degree[number]]
    for number in ended:  # which grows meanwhile
        move = first[number]
        while move >= 0:
            degree[sources[move]] -= 1
            if not degree[sources[move]]:
                ended.append(sources[move])
            move = following[move]
    return left.difference(ended)


def _line(number: int, label: Label, change: str) -> str:
    text, worker = label
    who = f"{WORKER_NAMES[worker]}: " if worker else ""
    return f"{number:3}. {who}{text} ({change})"
