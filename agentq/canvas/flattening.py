"""The steps of a chain and the members of a group or a header, flattened as Celery does.

The rules are Celery's own as they were seen to work in 5.7 (``celery/canvas.py``, ``_chain.prepare_steps`` and
``group._prepared``): nested chains are flattened; in a chain, a group of one stands for its member and an
empty group for nothing; groups directly in a group or a header are flattened in the written order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery import Signature

from agentq.canvas.signatures import primitive_of, require_supported, signature_of


def steps_of(part: Signature) -> list[Signature] | None:
    """Return the steps of a chain, flattened and without groups that say nothing; None for anything else."""
    if primitive_of(part) != "chain":
        return None
    steps = list(_flattened(part))
    steps = [_sole_member(step) for step in steps]
    meaningful = [step for step in steps if not (primitive_of(step) == "group" and not list(step.tasks))]
    return meaningful or steps[:1]


def members_of(tasks: Iterable[Any]) -> list[Signature]:
    """Return the members of a group or a header, with groups directly in it flattened."""
    members: list[Signature] = []
    for item in tasks:
        member = signature_of(item, "a member of a group")
        if primitive_of(member) == "group":
            require_supported(member)
            members += members_of(member.tasks)
        elif primitive_of(member) != "chain" or list(member.tasks):
            members.append(member)
    return members


def header_of(chord: Signature) -> Iterable[Any]:
    """Return the members of a chord's header, as they are written."""
    header: Any = chord.kwargs["header"]
    if isinstance(header, dict):
        header = signature_of(header, "a chord's header")
        return list(header.tasks) if primitive_of(header) in ("group", "chain") else [header]
    return list(header)


def _flattened(chain: Signature) -> Iterable[Signature]:
    require_supported(chain)
    for item in chain.tasks:
        step = signature_of(item, "an item of a chain")
        if primitive_of(step) == "chain" and not (step.options or {}).get("link"):
            yield from _flattened(step)
        else:
            yield step


def _sole_member(step: Signature) -> Signature:
    if primitive_of(step) != "group":
        return step
    require_supported(step)
    members = list(step.tasks)
    return signature_of(members[0], "a member of a group") if len(members) == 1 else step
