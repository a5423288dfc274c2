"""The terms of a start: its knowledge of the steps, stored for decisions on a job without their code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from inspect import Signature
from typing import Any
from weakref import WeakKeyDictionary

from agentq.canvas.graph import Graph
from agentq.exceptions import StepDefinitionError
from agentq.ledger.losses import TIMED_OUT, WORKER_LOST
from agentq.outcomes import Failure
from agentq.policies import DEFAULT, Category, ErrorFacts, Policy, dump_policy, load_policy, rule
from agentq.steps import registry
from agentq.steps.definition import StepDefinition
from agentq.steps.parameters import digest_of

logger = logging.getLogger(__name__)

_UNREADABLE = Policy(otherwise=rule("ask"), name="unreadable")
"""In place of a policy that another release of agentq wrote: not to run again what it might have said to leave."""
_OF_THE_JOB = ("attempts", "name")
"""Entries of a policy that are not stored: the job's row has the number, and the name is not needed."""
_kept: WeakKeyDictionary[StepDefinition, str] = WeakKeyDictionary()


def facts_of(loss: Failure) -> ErrorFacts:
    """Return what a policy is asked about an attempt that its worker did not end itself."""
    return ErrorFacts(Category(loss.category), loss.error_class, loss.message, names=(loss.error_class,))


def terms_of(graph: Graph) -> str:
    """Return the terms of a start as JSON text: by the name of each step what it takes, and its own policy.

    Of a plain task only what it takes.
    """
    entries = (_of_name(name, graph.signatures.get(name)) for name in dict.fromkeys(_names(graph)))
    return f"{{{','.join(filter(None, entries))}}}"


def stored_policy(terms: str | None, step: str) -> Policy:
    """Return the policy for losses that a start knew of a step; the default one where it knew none."""
    kept = {} if terms is None else json.loads(terms).get(step, {})
    kept = kept.get("policy")
    return DEFAULT if kept is None else readable(_BY_DEFAULT | kept, step)


def readable(kept: dict[str, Any], step: str) -> Policy:
    """Return a kept policy; where this release of agentq cannot read it, one that asks a person."""
    try:
        return load_policy(kept)
    except StepDefinitionError as error:
        logger.error("the kept policy of step %r cannot be read, so a person is to decide: %s", step, error)
        return _UNREADABLE


def _names(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        yield node.step
        if node.template is not None:
            yield from _names(node.template)


def _of_name(name: str, signature: Signature | None) -> str:
    step = registry.find(name)
    if step is not None:
        return _of_step(step)
    return "" if signature is None else _of_entry(name, {"takes": digest_of(signature)})


def _of_step(step: StepDefinition) -> str:
    text = _kept.get(step)
    if text is None:
        entries = _for_losses(step.policy).items()
        policy = {name: value for name, value in entries if value != _BY_DEFAULT[name]}
        entry = {"takes": step.parameters.digest} | ({"policy": policy} if policy else {})
        text = _kept[step] = _of_entry(step.name, entry)
    return text


def _of_entry(name: str, entry: dict[str, Any]) -> str:
    return json.dumps({name: entry}, separators=(",", ":"))[1:-1]


def _for_losses(policy: Policy) -> dict[str, Any]:
    # Predicates are asked now: a later decision may be without the code, and its questions are known.
    narrow = dump_policy(policy.narrowed_to([facts_of(WORKER_LOST), facts_of(TIMED_OUT)]))
    return {name: value for name, value in narrow.items() if name not in _OF_THE_JOB}


_BY_DEFAULT = _for_losses(DEFAULT)
