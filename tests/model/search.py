"""The search of a small model: every state that can be reached, and the shortest way to a broken promise."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

S = TypeVar("S", bound=Hashable)
Moves = Callable[[S], Iterable[tuple[str, S]]]
Ways = dict[S, tuple[S, str] | None]
"""The state before each state, and the move that leads from it."""

DEAD_END = "where nothing is left to do, all is done"


def search(
    initial: S,
    moves: Moves[S],
    broken: Callable[[S], str | None],
    is_end: Callable[[S], bool],
    faults: Moves[S] = lambda state: (),
) -> tuple[int, str | None, list[str]]:
    """Visit all states; returns how many, the first promise that is broken, and the shortest way there.

    In a state without *moves*, it must be right that nothing more happens: *is_end*. *faults* may happen or not.
    """
    ways: Ways[S] = {initial: None}
    states = [initial]
    for state in states:  # which grows meanwhile
        following = list(moves(state))
        promise = broken(state)
        if promise is None and not following and not is_end(state):
            promise = DEAD_END
        if promise is not None:
            return len(states), promise, [*_way(ways, state)][::-1]
        for name, new in (*following, *faults(state)):
            if new not in ways:
                ways[new] = (state, name)
                states.append(new)
    return len(states), None, []


def _way(ways: Ways[S], state: S) -> Iterator[str]:
    """Give the moves that lead to a state, the last one first."""
    while (step := ways[state]) is not None:
        state, name = step
        yield name
