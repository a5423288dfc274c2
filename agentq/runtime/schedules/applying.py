"""Declared schedules are written to the ledger: at the start of a worker, or by a person."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from agentq.canvas.compile import compile_canvas
from agentq.canvas.graph import Graph, Node
from agentq.canvas.nesting import require_followable
from agentq.exceptions import AgentqError, LedgerError, ScheduleError
from agentq.ids import new_id
from agentq.ledger import schedules
from agentq.ledger.ticks import graph_of
from agentq.runtime.schedules.declared import Declared
from agentq.runtime.start.terms import terms_of
from agentq.states import ScheduleAction
from agentq.steps import registry

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """The result for one declared schedule: ``action`` is None where the ledger had it so.

    ``error`` says why its canvas cannot be started.
    """

    name: str
    tenant: str
    action: ScheduleAction | None
    error: str = ""


def apply_all(engine: Engine, actor: str) -> list[Applied]:
    """Write each declared schedule, in place of the definition that is there.

    One whose canvas cannot be started is paused, for a person who looks at it, and the others go on.
    """
    engine.ensure_ledger()
    return [_apply(engine, declared, actor) for declared in engine.schedules.values()]


def build_graph(engine: Engine, canvas: str) -> Graph:
    """Return the graph of a schedule, with what this code declares of its limits and caps."""
    graph = graph_of(canvas)
    for node in _nodes(graph):
        for limit in node.limits:
            meters = engine.meters_of(limit)
            if meters is not None:
                graph.meters[limit] = meters
        step = registry.find(node.step)
        if node.is_counted and step is not None and step.max_backlog is not None:
            graph.caps[node.step] = step.max_backlog
    return graph


def _apply(engine: Engine, declared: Declared, actor: str) -> Applied:
    name, tenant = declared.name, declared.tenant or engine.settings.tenant
    try:
        definition = definition_of(engine, declared)
    except LedgerError:
        raise
    except AgentqError as error:
        why = f"its canvas cannot be started: {error}"
        engine.ledger.write(lambda tx: schedules.pause_unfit(tx, tenant, name, why))
        logger.error("schedule %s of tenant %s starts nothing: %s", name, tenant, why)
        return Applied(name, tenant, None, why)
    action = engine.ledger.write(partial(schedules.apply, definition=definition, action_id=new_id(), actor=actor))
    return Applied(name, tenant, action)


def definition_of(engine: Engine, declared: Declared) -> schedules.Definition:
    """Compile the canvas of a declared schedule; raises what a start of it would raise."""
    tenant = declared.tenant or engine.settings.tenant
    require_followable(declared.canvas)
    graph = compile_canvas(declared.canvas, engine.catalogue, engine.defaults(tenant=tenant))
    for node in _nodes(graph):
        if node.due_at is not None or node.expires_at is not None:
            raise ScheduleError(
                f"schedule {declared.name!r}: step {node.step!r} has a fixed time, which passes; give it seconds, "
                "which count from each tick"
            )
    return schedules.Definition(
        tenant=tenant,
        name=declared.name,
        canvas=json.dumps(graph.to_data(), separators=(",", ":"), ensure_ascii=False),
        terms=terms_of(graph),
        timing=declared.timing,
        overlap=declared.overlap,
        catch_up=declared.catch_up,
        catch_up_window=declared.catch_up_window,
        meters=graph.meters,
    )


def _nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        if node.template is not None:
            yield from _nodes(node.template)
