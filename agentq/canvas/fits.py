"""The check that one step's result can be the next one's input, as far as their annotations say."""

from __future__ import annotations

from dataclasses import dataclass

from agentq.canvas.graph import BEYOND, Graph, Node
from agentq.exceptions import CanvasError
from agentq.states import JobKind
from agentq.steps import registry
from agentq.steps.values.shapes import Shape, anything, items_of, list_of, mismatch, one_of


@dataclass(frozen=True, slots=True)
class _Value:
    """The result of a node: its shape, its type in words, and its origin."""

    shape: Shape
    type: str
    source: str


def check(graph: Graph) -> None:
    """Raise CanvasError where a step can take no value of the type that the step before it gives."""
    _Checker(graph, None).check()


class _Checker:
    """Checks all values that nodes of a graph hand over; *item* is the value an ``each`` gives this branch."""

    def __init__(self, graph: Graph, item: _Value | None) -> None:
        self._graph = graph
        self._item = item
        self._members: dict[int, list[int]] = {}
        for index, node in enumerate(graph.nodes):
            if node.join is not None:
                self._members.setdefault(node.join, []).append(index)
        self._lenient = {graph.nodes[node.part].join for node in graph.nodes if node.part not in (None, BEYOND)}
        self._given: dict[int, _Value] = {}

    def check(self) -> None:
        for node in self._graph.nodes:
            value = self._item if node.after is None else self._of(node.after)
            if value is None or node.immutable:
                continue
            if node.template is not None:
                _Checker(node.template, _item_of(value)).check()
            elif node.kind is JobKind.STEP:
                _require_fit(node, value)

    def _of(self, index: int) -> _Value:
        if index not in self._given:
            self._given[index] = self._read(index)
        return self._given[index]

    def _read(self, index: int) -> _Value:
        node = self._graph.nodes[index]
        if node.kind is JobKind.JOIN:
            return self._list(index)
        if node.template is not None:
            before = self._item if node.after is None else self._of(node.after)
            branch = _Checker(node.template, None if before is None else _item_of(before))
            one = branch._of(node.template.last)
            return _Value(list_of(rest=one.shape), f"list[{one.type}]", f"each() of {one.source}")
        if node.kind is JobKind.SLEEP:
            given = self._item if node.after is None else self._of(node.after)
            return given or _Value(anything, "None", "sleep()")
        step = registry.find(node.step) if node.kind is JobKind.STEP else None
        if step is None:
            return _Value(anything, "Any", f"task {node.step!r}")
        return _Value(step.parameters.gives, step.parameters.type_of("return"), f"step {node.step!r}")

    def _list(self, join: int) -> _Value:
        """The list of a fan-in: one item for each member, or any number where members may be missing."""
        members = [self._of(index) for index in self._members.get(join, [])]
        types = " | ".join(dict.fromkeys(member.type for member in members))
        sources = list(dict.fromkeys(member.source for member in members))
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        shapes = [member.shape for member in members]
        shape = list_of(rest=one_of(*shapes)) if join in self._lenient else list_of(*shapes)
        return _Value(shape, f"list[{types}]", f"the group of {sources[0]}{more}" if sources else "an empty group")


def _item_of(value: _Value) -> _Value:
    """Return what an ``each`` gives its branches of the list that it is given."""
    reason = mismatch(value.shape, list_of(rest=anything))
    if reason is not None:
        raise CanvasError(
            f"each() takes a list, but {value.source} before it gives {value.type}; let that return a list, or "
            "leave each() out"
        )
    return _Value(items_of(value.shape), f"an item of {value.type}", f"each() after {value.source}")


def _require_fit(node: Node, value: _Value) -> None:
    step = registry.find(node.step)
    if step is None:
        return
    parameters = step.parameters
    reason = mismatch(value.shape, parameters.takes)
    if reason is not None:
        raise CanvasError(
            f"step {node.step!r} takes {parameters.type_of(parameters.first)} as {parameters.first!r}, but "
            f"{value.source} before it gives {value.type}, which can never be that{reason and f': {reason}'}; "
            "change one of the annotations, put a step between them that converts, or write .si(…) where "
            f"{node.step!r} takes nothing from it"
        )
