"""The identity of a start: names of steps, what waits for what, and bound arguments; options are no part of it."""

from __future__ import annotations

import hashlib
import json
from itertools import zip_longest
from typing import Any

from agentq.redaction import show
from agentq.workflows import registry
from agentq.workflows.graph import Graph, Node

_MISSING = object()


def fingerprint(graph: Graph) -> str:
    """Return a hash that two graphs share if they do the same work, whatever the options of their steps."""
    text = json.dumps(_work_of(graph), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def difference(before: Graph, now: Graph) -> str | None:
    """Return in words the first thing in which two graphs do other work; None where they do the same."""
    one, other = _work_of(before), _work_of(now)
    return None if one == other else _difference(one["nodes"], other["nodes"])


def _work_of(graph: Graph, *, has_item: bool = False) -> dict[str, Any]:
    """*has_item* says that its first steps are given an item of an ``each``."""
    return {"nodes": [_node(node, has_item) for node in graph.nodes], "last": graph.last}


def _node(node: Node, has_item: bool) -> dict[str, Any]:
    takes_input = not node.immutable and (has_item or node.after is not None)
    work = {
        "step": node.step,
        "takes_input": takes_input,
        "after": node.after,
        "join": node.join,
        "position": node.position,
        "arguments": _arguments(node, takes_input),
    }
    return work if node.template is None else work | {"template": _work_of(node.template, has_item=True)}


def _arguments(node: Node, takes_input: bool) -> list[Any] | dict[str, Any]:
    step = registry.find(node.step)
    if step is None:
        return [node.args, node.kwargs]
    return step.parameters.by_name(node.args, node.kwargs, given=takes_input)


def _difference(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    nothing: dict[str, Any] = {"step": None}
    pairs = list(zip_longest(before, now, fillvalue=nothing))
    for one, other in pairs:
        if one["step"] != other["step"]:
            return f"it has {_step(one)} where this start has {_step(other)}"
    for one, other in pairs:
        if one["arguments"] != other["arguments"]:
            return _argument(one, other)
        inner = [work["template"]["nodes"] for work in (one, other) if "template" in work]
        if inner and inner[0] != inner[-1]:
            return f"in each(), {_difference(*inner)}"
    return "its steps are in another order or grouped in another way"


def _step(work: dict[str, Any]) -> str:
    return "nothing more" if work["step"] is None else f"step {work['step']!r}"


def _argument(one: dict[str, Any], other: dict[str, Any]) -> str:
    before, now = one["arguments"], other["arguments"]
    if not isinstance(before, dict) or not isinstance(now, dict):
        return f"the arguments of {_step(one)} are {show(before)} there and {show(now)} here"
    names = [*before, *(name for name in now if name not in before)]
    name = next(name for name in names if before.get(name, _MISSING) != now.get(name, _MISSING))
    there, here = (show(values[name], name=name) if name in values else "its default" for values in (before, now))
    return f"argument {name!r} of {_step(one)} is {there} there and {here} here"
