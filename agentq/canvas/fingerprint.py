"""The identity of a start: names of steps, their order, and bound arguments; options do not belong to it."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from agentq.canvas.graph import Graph, Node
from agentq.redaction import show
from agentq.steps import registry

Signatures = Mapping[str, inspect.Signature]
"""The signatures of plain tasks, by name."""

_MISSING = object()


def fingerprint(graph: Graph) -> str:
    """Return a hash that two graphs share if they do the same work, whatever the options of their steps."""
    text = json.dumps(_work_of(graph, graph.signatures), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def difference(before: Graph, now: Graph) -> str | None:
    """Return in words the first thing in which two graphs do other work; None where they do the same."""
    one, other = _work_of(before, now.signatures), _work_of(now, now.signatures)
    return None if one == other else _difference(one["nodes"], other["nodes"])


def _work_of(graph: Graph, signatures: Signatures, *, has_item: bool = False) -> dict[str, Any]:
    """*has_item* says that its first steps are given an item of an ``each``."""
    return {"nodes": [_node(node, signatures, has_item) for node in graph.nodes], "last": graph.last}


def _node(node: Node, signatures: Signatures, has_item: bool) -> dict[str, Any]:
    takes_input = not node.immutable and (has_item or node.after is not None)
    work = {
        "step": node.step,
        "takes_input": takes_input,
        "after": node.after,
        "join": node.join,
        "position": node.position,
        "arguments": _arguments(node, signatures, takes_input),
    }
    return (
        work if node.template is None else work | {"template": _work_of(node.template, signatures, has_item=True)}
    )


def _arguments(node: Node, signatures: Signatures, takes_input: bool) -> list[Any] | dict[str, Any]:
    step = registry.find(node.step)
    if step is not None:
        return step.parameters.by_name(node.args, node.kwargs, given=takes_input)
    signature = signatures.get(node.step)
    return [node.args, node.kwargs] if signature is None else _by_name(node, signature, takes_input)


def _by_name(node: Node, signature: inspect.Signature, takes_input: bool) -> list[Any] | dict[str, Any]:
    """Return the arguments of a plain task by name, without those that are as their default."""
    try:
        bound = signature.bind(*[_MISSING] * takes_input, *node.args, **node.kwargs).arguments
    except TypeError:  # the task itself will say so
        return [node.args, node.kwargs]
    named: dict[str, Any] = {}
    for name, value in bound.items():
        parameter = signature.parameters[name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named |= value
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            named[name] = [item for item in value if item is not _MISSING]
        elif value is not _MISSING and not _is_same(value, parameter.default):
            named[name] = value
    return named


def _is_same(value: Any, default: Any) -> bool:
    return json.dumps(value, sort_keys=True) == json.dumps(default, sort_keys=True, default=repr)


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
