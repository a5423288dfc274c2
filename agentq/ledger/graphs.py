"""The graph that a workflow was started with, read back from its jobs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from agentq.canvas.graph import Graph, Node, kind_of
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow
from agentq.states import JobKind

_COLUMNS = (
    *(JobRow.id, JobRow.kind, JobRow.step, JobRow.arguments, JobRow.immutable),
    *(JobRow.after_id, JobRow.join_id, JobRow.position, JobRow.is_last),
)


def graph_of(connection: Connection, workflow_id: uuid.UUID, first: uuid.UUID) -> Graph:
    """Return what a workflow does: its steps, what they wait for, their arguments; no options.

    *first* is the id of its first job where its starter chose that; the others ascend in the order of the graph.
    """
    rows = connection.execute(select(*_COLUMNS).where(JobRow.workflow_id == workflow_id)).all()
    rows = sorted(rows, key=lambda row: (row.id != first, row.id))
    expanded = _expanded(rows)
    rows = [row for row in rows if row.id not in expanded]
    places = {row.id: place for place, row in enumerate(rows)}
    nodes = [_node(row, places) for row in rows]
    last = next((place for place, row in enumerate(rows) if row.is_last), -1)
    return Graph(nodes, last, last)


def _node(row: AnyRow, places: dict[uuid.UUID, int]) -> Node:
    kept: Any = json.loads(row.arguments) if row.arguments else [[], {}]
    is_each = row.kind == JobKind.EACH
    args, kwargs = ([], {}) if is_each else kept
    return Node(
        kind_of(row.kind),
        row.step,
        args=args,
        kwargs=kwargs,
        immutable=row.immutable,
        after=places.get(row.after_id),
        join=places.get(row.join_id),
        position=row.position,
        template=Graph.from_data(kept) if is_each else None,
    )


def _expanded(rows: Sequence[AnyRow]) -> set[uuid.UUID]:
    """The jobs of the branches that an ``each`` was expanded to, which end in it."""
    before: dict[uuid.UUID, list[uuid.UUID]] = {}
    for row in rows:
        if row.join_id is not None:
            before.setdefault(row.join_id, []).append(row.id)
    after = {row.id: row.after_id for row in rows}
    expanded: set[uuid.UUID] = set()
    ends = [end for row in rows if row.kind == JobKind.EACH for end in before.get(row.id, ())]
    while ends:
        one = ends.pop()
        if one not in expanded:
            expanded.add(one)
            ends += before.get(one, ())
            ends += [after[one]] if after[one] is not None else []
    return expanded
