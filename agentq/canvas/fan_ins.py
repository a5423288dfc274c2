"""The effect of a failed job on its workflow, settled when its canvas is compiled.

A fan-in waits for its members: the last jobs of its branches. It can go on without some of them if its options say
so (``needs``, ``within``), or if a step in it has ``on_failure="continue"``. The compiler notes each fan-in with
its branches, the inner ones first, and what each step asks for. At the end ``settle`` writes the answer into each
node: ``part`` is the member to which the node leads, of the innermost fan-in that can go on without it, and
``on_failure`` says whether the workflow goes on. A node in no such fan-in has no ``part``, and its failure stops
the workflow. The template of an ``each`` is a graph of its own: ``BEYOND`` there means a member of a fan-in around
the ``each``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentq.canvas import needs
from agentq.canvas.graph import BEYOND, Graph, Node
from agentq.exceptions import CanvasError, nearest
from agentq.redaction import show
from agentq.states import FAN_INS, JobKind, OnFailure


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a fan-in: its first node, and its member, in which it ends."""

    begin: int
    end: int


_OWNER = -2
"""The ``each`` whose template a graph is, as a fan-in around its nodes."""


class FanIns:
    """The fan-ins of one graph, collected while it is compiled."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._around: dict[int, tuple[int, int]] = {}
        """For each node the innermost fan-in around it, and that fan-in's member to which the node leads."""
        self._asked: dict[int, OnFailure] = {}
        self._templates: dict[int, FanIns] = {}

    def add(self, join: int, branches: list[Branch]) -> None:
        """Note a join and its branches; those inside it were noted before."""
        ends = [*[branch.begin for branch in branches[1:]], join]
        for branch, end in zip(branches, ends, strict=bool(branches)):
            for index in range(branch.begin, end):
                self._around.setdefault(index, (join, branch.end))

    def add_each(self, each: int, template: FanIns) -> None:
        """Note an ``each`` and what was collected of its branches, which end in the template's last node."""
        self._templates[each] = template
        for index in range(len(template._graph.nodes)):
            template._around.setdefault(index, (_OWNER, template._graph.last))

    def ask(self, index: int, options: Mapping[str, Any], on_failure: Any) -> None:
        """Note what a step asks for: of itself with ``on_failure``, of the fan-in before it with ``needs``."""
        node = self._graph.nodes[index]
        asked = options.get("on_failure", on_failure)
        if asked is not None:
            self._asked[index] = _checked(asked, node.step)
        wanted, within = options.get("needs"), options.get("within")
        if wanted is None and within is None:
            return
        fan_in = None if node.after is None else self._graph.nodes[node.after]
        if fan_in is None or fan_in.kind not in FAN_INS or node.immutable:
            raise CanvasError(
                f"step {node.step!r}: needs= and within= are for a step that takes the results of a group, of a "
                "chord's header or of each()"
            )
        if within is not None and not (isinstance(within, (int, float)) and 0 < within < 1e9):
            raise CanvasError(f"step {node.step!r}: within is {show(within)}, must be over 0 seconds")
        fan_in.needs = needs.parse(wanted, f"step {node.step!r}") or needs.ANY
        members = sum(other.join == node.after for other in self._graph.nodes)
        if fan_in.kind is JobKind.JOIN and isinstance(wanted, int) and wanted > members:
            raise CanvasError(
                f"step {node.step!r}: needs is {wanted}, but the group before it has {members} member(es); "
                "needs='all' means all that there are"
            )
        fan_in.deadline = within

    def settle(self, *, is_linked: bool = False) -> None:
        """Give every node its member and its ``on_failure``; *is_linked* where link= adds ends of its own."""
        if is_linked:
            if any(needs.accepts_missing(node.needs) or _is_timed(node) for node in self._graph.nodes):
                raise CanvasError(
                    "needs= and within= cannot be used in a canvas with link=; put the step behind with |"
                )
            return
        self._settle(None, member_around=False, says_around=False)

    def _settle(self, owner: Node | None, *, member_around: bool, says_around: bool) -> None:
        """Settle one graph. Of a template, *owner* is its ``each``; the rest describes the fan-ins around it."""
        nodes = self._graph.nodes
        fan_ins = dict(enumerate(nodes)) | ({} if owner is None else {_OWNER: owner})
        saying = {index for index, node in fan_ins.items() if needs.accepts_missing(node.needs)}
        asking = {index for index, asked in self._asked.items() if asked is OnFailure.CONTINUE}
        timed = {index for index, node in fan_ins.items() if _is_timed(node)}
        lenient = saying | timed | {self._around[index][0] for index in asking if index in self._around}
        for index, node in enumerate(nodes):
            around = list(self._outwards(index))
            members = [member for fan_in, member in around if fan_in in lenient]
            node.part = members[0] if members else BEYOND if member_around else None
            says = says_around or any(fan_in in saying for fan_in, _ in around)
            node.on_failure = self._settled(index, node, says)
            if index in self._templates:
                self._templates[index]._settle(node, member_around=node.part is not None, says_around=says)

    def _outwards(self, index: int) -> Iterator[tuple[int, int]]:
        """The fan-ins around a node, the innermost first, each with the member to which the node leads."""
        around = self._around.get(index)
        while around is not None:
            yield around
            around = self._around.get(around[0])

    def _settled(self, index: int, node: Node, says_so: bool) -> OnFailure:
        asked = self._asked.get(index, OnFailure.CONTINUE if says_so else OnFailure.STOP)
        if asked is OnFailure.CONTINUE and node.part is None and not self._is_followed_freely(index):
            return OnFailure.STOP  # there is nothing that could go on
        return asked

    def _is_followed_freely(self, index: int) -> bool:
        """Say whether steps come after this node and none of them takes its result."""
        after = [node for node in self._graph.nodes if node.after == index]
        return bool(after) and all(node.immutable and node.kind not in FAN_INS for node in after)


def _is_timed(node: Node) -> bool:
    """Say whether this is a fan-in with a deadline, so that members may be missing whatever it needs."""
    return node.kind in FAN_INS and node.deadline is not None


def _checked(asked: Any, step: str) -> OnFailure:
    try:
        return OnFailure(asked)
    except ValueError:
        known = ", ".join(OnFailure)
        hint = nearest(str(asked), OnFailure)
        raise CanvasError(f"step {step!r}: on_failure is {show(asked)}, must be one of: {known}.{hint}") from None
