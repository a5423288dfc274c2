"""Graphs become rows: at a start, and when an ``each`` is expanded to one branch per item of a list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agentq.canvas.graph import BEYOND, Graph, Node, parse_time
from agentq.ids import new_id
from agentq.ledger.after_commit import Enter
from agentq.ledger.insertion import NewJob
from agentq.ledger.moves.ready import first_status
from agentq.ledger.naming import limits_of_branch
from agentq.ledger.records import Dispatch, dispatch_with
from agentq.policies.limits import Meters
from agentq.states import FAN_INS, RUNNABLE, BlockedBy, JobKind, JobStatus
from agentq.steps.naming import Naming


@dataclass(frozen=True, slots=True)
class InsertionPoint:
    """The place where a graph is inserted: its workflow, and the fan-in that its last node counts into."""

    workflow_id: uuid.UUID
    tenant: str
    join_id: uuid.UUID | None = None
    position: int | None = None
    is_last: bool = False
    part_id: uuid.UUID | None = None
    """The member around the graph that is missing if a job fails that belongs to no member in it."""
    is_plain: bool = True
    """True if the fan-in that the last node counts into has a simple hand-over itself and counts into nothing."""


@dataclass(frozen=True, slots=True)
class EachInput:
    """An ``each`` and what it was given, which should be a list."""

    each_id: uuid.UUID
    template: Graph
    items: Any
    part_id: uuid.UUID | None = None


class RowBuilder:
    """Collects the rows of one or many graphs, to be written together.

    Jobs that can run at once are written as queued; their dispatches are published after the commit. *naming*
    names the limits of those that are given an item.
    """

    def __init__(self, naming: Naming | None = None) -> None:
        self._naming = naming
        self.meters: dict[str, Meters] = {}
        """The meters that code declares of the limits that were named here."""
        self.rows: list[NewJob] = []
        self.ready: list[NewJob] = []
        """Rows of jobs that can run at once."""
        self.entered: list[Enter] = []
        """The lines of limits in which jobs stand that could run at once but for these."""
        self.each_inputs: list[EachInput] = []
        """``each`` nodes that have their list already; to be expanded after the rows are written."""
        self.empty: set[uuid.UUID] = set()
        """Fan-ins of nothing, done as soon as they are written."""

    def add(
        self, graph: Graph, point: InsertionPoint, item: tuple[Any, ...] = (), ids: list[uuid.UUID] | None = None
    ) -> None:
        """Add the rows of *graph*; its first nodes take *item* as their first argument."""
        ids = ids or [new_id() for _ in graph.nodes]
        members = _count_members(graph)
        plain = _find_simple(graph, counts_on=point.join_id is not None)
        for index, node in enumerate(graph.nodes):
            remaining = 1 if node.after is not None else members.get(index, 0)
            given = self._given(node, point.tenant, item)
            row = _row(given, ids, point, id_=ids[index], remaining=remaining, is_plain=plain[index])
            if index == graph.last:
                row["is_plain"] = plain[index] and point.is_plain
                row["join_id"], row["position"], row["is_last"] = point.join_id, point.position, point.is_last
            self.rows.append(row)
            if node.kind is JobKind.EACH and node.after is None:
                assert node.template is not None
                self.each_inputs.append(EachInput(ids[index], node.template, item[0], row["part_id"]))
            elif node.kind is JobKind.JOIN and node.after is None and not row["remaining"]:
                self.empty.add(ids[index])
            elif row["status"] == JobStatus.QUEUED:
                self.ready.append(row)
            elif row["blocked_on"] is not None:
                self.entered.append(Enter(row["blocked_on"], row["tenant"]))

    def _given(self, node: Node, tenant: str, item: tuple[Any, ...]) -> Node:
        """Return a first node with the item, and with the names of its limits where these need it."""
        if not item or node.after is not None or node.immutable or node.kind in FAN_INS:
            return node
        node = replace(node, args=[*item, *node.args])
        limits = limits_of_branch(node, tenant, self._naming) if node.is_unnamed else None
        if limits is None:
            return node
        for name, meters in limits.meters.items():
            self.meters[name] = self.meters.get(name, Meters()) | meters
        return replace(node, is_unnamed=False, limits=limits.names, tokens=limits.tokens, pays=limits.pays)

    def dispatches(self, dispatched_at: datetime) -> list[Dispatch]:
        """Return the dispatches of jobs that can run at once; *dispatched_at* is the time of their insert."""
        return [dispatch_with({**row, "dispatched_at": dispatched_at}) for row in self.ready]


def postponed(row: NewJob) -> NewJob:
    """Return the row of a job whose workflow is postponed: what could run at once is blocked."""
    if row["status"] == JobStatus.WAITING:
        return row
    return {**row, "status": JobStatus.BLOCKED, "blocked_by": BlockedBy.BACKLOG, "blocked_on": None}


def _row(
    node: Node,
    ids: list[uuid.UUID],
    point: InsertionPoint,
    *,
    id_: uuid.UUID,
    remaining: int,
    is_plain: bool,
) -> NewJob:
    is_first = node.after is None and node.kind not in FAN_INS
    status = first_status(node.delay, node.due_at, node.limits) if is_first else JobStatus.WAITING
    is_blocked = status is JobStatus.BLOCKED
    return {
        "id": id_,
        "workflow_id": point.workflow_id,
        "tenant": point.tenant,
        "kind": node.kind,
        "step": node.step,
        "status": status,
        "limits": node.limits or ([] if node.is_unnamed else None),
        "tokens": node.tokens or None,
        "pays": node.pays,
        "is_counted": node.is_counted,
        "blocked_by": BlockedBy.LIMIT if is_blocked else None,
        "blocked_on": node.limits[0] if is_blocked else None,
        "after_id": None if node.after is None else ids[node.after],
        "join_id": None if node.join is None else ids[node.join],
        "position": node.position,
        "remaining": remaining,
        "needs": node.needs,
        "part_id": point.part_id if node.part == BEYOND else None if node.part is None else ids[node.part],
        "on_failure": node.on_failure,
        "is_last": False,
        "is_plain": is_plain,
        "arguments": node.arguments,
        "immutable": node.immutable,
        "queue": node.queue,
        "priority": node.priority,
        "timeout": node.timeout,
        "hard_timeout": node.hard_timeout,
        "max_attempts": node.max_attempts,
        "allowance": node.max_attempts,
        "delay": node.delay,
        "deadline": node.deadline,
        "eta": parse_time(node.due_at),
        "expires_in": node.expires_in,
        "expiry": parse_time(node.expires_at),
    }


def _find_simple(graph: Graph, *, counts_on: bool) -> list[bool]:
    """Say of each node whether its hand-over reaches only steps, and at most one join that reaches only steps.

    *counts_on* says that the last node counts into something outside the graph.
    """
    before_others = {node.after for node in graph.nodes if node.kind not in RUNNABLE}
    members = {node.part for node in graph.nodes}
    plain = []
    for index, node in enumerate(graph.nodes):
        join = None if node.join is None else graph.nodes[node.join]
        joins_on = join is not None and (join.join is not None or (counts_on and node.join == graph.last))
        reaches_more = index in before_others or node.join in before_others - {None}
        # A fan-in with members that may be missing decides by more than a count.
        plain.append(not joins_on and not reaches_more and index not in members)
    return plain


def _count_members(graph: Graph) -> dict[int, int]:
    members: dict[int, int] = {}
    for node in graph.nodes:
        if node.join is not None:
            members[node.join] = members.get(node.join, 0) + 1
    return members
