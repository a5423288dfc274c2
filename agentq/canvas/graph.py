"""A compiled canvas as plain data: nodes that wait for each other, ready to become rows of the ledger.

Nodes refer to each other by index. A node waits for the one node in ``after``; a join waits for its members,
the nodes whose ``join`` names it. Every graph has one last node: when it is done, so is the whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from inspect import Signature
from typing import Any

from agentq.exceptions import CanvasError
from agentq.policies.limits import Meters
from agentq.redaction import show
from agentq.states import FAN_INS, JobKind, OnFailure

BEYOND = -1
"""A member of a fan-in that is not in this graph, but around the ``each`` whose branch this is."""


@dataclass(slots=True)
class Node:
    """One job to be: what to run, and what it waits for.

    ``part`` is the member of a fan-in that is missing if this node fails; ``needs`` what a fan-in needs of them.
    ``limits`` are the names of its limits, in their order; ``tokens``, where one of these counts tokens, how many
    an attempt is expected to use of each; ``pays`` says whether each start has to be paid for. ``is_unnamed`` says
    that its limits need what the step before gives: they are named when that is known. ``is_counted`` says that
    its step has a cap of jobs that wait.
    """

    kind: JobKind
    step: str
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    immutable: bool = False
    after: int | None = None
    join: int | None = None
    position: int | None = None
    needs: str | None = None
    part: int | None = None
    on_failure: str = OnFailure.STOP
    queue: str = ""
    priority: int | None = None
    timeout: float | None = None
    hard_timeout: float | None = None
    deadline: float | None = None
    max_attempts: int = 1
    delay: float | None = None
    due_at: str | None = None
    expires_in: float | None = None
    expires_at: str | None = None
    limits: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    pays: bool = False
    is_unnamed: bool = False
    is_counted: bool = False
    template: Graph | None = None

    @property
    def arguments(self) -> str | None:
        """The text that the ledger keeps: arguments of a step, or the branch of an ``each``."""
        if self.kind is JobKind.JOIN:
            return None
        if self.template is not None:
            return json.dumps(self.template.to_data(), separators=(",", ":"), ensure_ascii=False)
        return json.dumps([self.args, self.kwargs], separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True)
class Graph:
    """All nodes of a canvas, members before their join, and the index of the last node.

    ``signatures`` are those of the plain tasks in it, ``meters`` what code declares of each limit, and ``caps``
    how many jobs of each step may wait, where it was compiled; they are not kept.
    """

    nodes: list[Node] = field(default_factory=list)
    last: int = -1
    result: int = -1
    signatures: dict[str, Signature] = field(default_factory=dict, repr=False)
    meters: dict[str, Meters] = field(default_factory=dict, repr=False)
    caps: dict[str, int] = field(default_factory=dict, repr=False)

    def add(self, node: Node) -> int:
        """Append *node* and return its index."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def members(self, join: int) -> int:
        """Return how many nodes count into the join at index *join*."""
        return sum(1 for node in self.nodes if node.join == join)

    def to_data(self) -> dict[str, Any]:
        """Return the graph as JSON-able data, without the fields that hold their default."""
        return {
            "nodes": [
                {name: value for name, value in _fields(node).items() if value != _DEFAULTS.get(name)}
                for node in self.nodes
            ],
            "last": self.last,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Graph:
        """Rebuild what ``to_data`` gave; what only another release has a field for is left out.

        Raises CanvasError for a kind of node that only a newer release knows.
        """
        nodes = []
        for fields in data["nodes"]:
            template = fields.get("template")
            kind = kind_of(fields["kind"])
            extra = {"kind": kind, "template": cls.from_data(template) if template else None}
            known = {name: value for name, value in fields.items() if name in _NAMES}
            nodes.append(Node(**(known | extra)))
        return cls(nodes, data["last"], data["last"])

    def describe(self) -> str:
        """Return a short name such as ``find | each(read | summarise) | combine``."""
        names = [
            f"each({node.template.describe()})" if node.template else node.step.rpartition(".")[2]
            for node in self.nodes
            if node.template or node.kind not in FAN_INS
        ]
        text = ", ".join(dict.fromkeys(names))
        return text if len(text) <= 120 else f"{text[:119]}…"


def kind_of(word: str) -> JobKind:
    """Return the kind that a word of the ledger's says; raises CanvasError where only a newer release knows it."""
    if word not in set(JobKind):
        raise CanvasError(
            f"the canvas has a part of kind {show(word)}, which only a newer release of agentq knows"
        )
    return JobKind(word)


def parse_time(text: str | None) -> datetime | None:
    """Return the time that a node has as ISO text."""
    return None if text is None else datetime.fromisoformat(text)


def _fields(node: Node) -> dict[str, Any]:
    fields = {name: getattr(node, name) for name in _NAMES}
    if node.template is not None:
        fields["template"] = node.template.to_data()
    return fields


_DEFAULTS = asdict(Node(JobKind.STEP, "")) | {"kind": None, "step": None}
_NAMES = tuple(_DEFAULTS)
