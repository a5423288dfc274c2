"""Starts: a canvas, or a single call."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Signature

from agentq.canvas.compile import compile_canvas
from agentq.canvas.graph import Graph
from agentq.canvas.nesting import require_followable
from agentq.canvas.options import INSTEAD, first_refused, time_text
from agentq.exceptions import CanvasError, InvalidArguments
from agentq.ledger import starts
from agentq.policies import dump_policy, policy_of
from agentq.redaction import show
from agentq.runtime.dispatch.task_ids import ids_of
from agentq.runtime.start.options import StartOptions, require_known
from agentq.runtime.start.session import Joinable, Joined
from agentq.runtime.start.terms import terms_of
from agentq.runtime.workflow import Workflow
from agentq.states import OnFull

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


_CALL_OPTIONS = frozenset(
    {
        "queue",
        "priority",
        "countdown",
        "eta",
        "expires",
        "time_limit",
        "soft_time_limit",
        "link",
        "task_id",
        "on_full",
    }
)
_WITHOUT_MEANING = frozenset(
    {
        "ignore_result",
        "add_to_parent",
        "retry",
        "retry_policy",
        "root_id",
        "parent_id",
        "reply_to",
        "shadow",
        "producer",
    }
    | {"argsrepr", "kwargsrepr", "connection", "serializer", "compression", "headers", "route_name"}
)
"""Options of a publish; a start is no publish."""
_DUE_AT_ONCE = "1970-01-01T00:00:00+00:00"


_NO_OPTIONS = StartOptions()


def start(
    engine: Engine,
    canvas: Any,
    options: StartOptions = _NO_OPTIONS,
    *,
    key: str | None = None,
    session: Joinable | None = None,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    task_id: str | None = None,
) -> Workflow[Any]:
    """Write the workflow, then dispatch what can run; see ``AgentQ.start``."""
    require_known(options, "key", "session")
    planner = _Planner(engine, options, session)
    ids = ids_of(task_id) if task_id else (None, None)
    plan = planner.plan(canvas, key, ids, args=args, kwargs=kwargs)
    return _start_all(engine, [plan], planner, at_once=plan.is_one_statement)[0]


def start_many(
    engine: Engine,
    canvases: Iterable[Any],
    options: StartOptions,
    *,
    keys: Iterable[str] | None,
    session: Joinable | None,
) -> list[Workflow[Any]]:
    """Write all workflows in one transaction, then dispatch what can run; see ``AgentQ.start_many``."""
    require_known(options, "keys", "session")
    canvases = list(canvases)
    given = [None] * len(canvases) if keys is None else list(keys)
    if len(given) != len(canvases):
        raise InvalidArguments(f"there are {len(canvases)} canvases but {len(given)} keys; give one for each")
    twice = [key for key, count in Counter(given).items() if key is not None and count > 1]
    if twice:
        raise InvalidArguments(f"the key {show(twice[0])} is given twice; each names one workflow")
    planner = _Planner(engine, options, session)
    plans = [planner.plan(canvas, key, (None, None)) for canvas, key in zip(canvases, given, strict=True)]
    return _start_all(engine, plans, planner) if plans else []


class _Planner:
    """Turns canvases into plans, under options that were checked once."""

    def __init__(self, engine: Engine, options: StartOptions, session: Joinable | None) -> None:
        self.joined = None if session is None else Joined(session)
        self._catalogue = engine.catalogue
        tenant, retry, not_before = options.get("tenant"), options.get("retry"), options.get("not_before")
        self._tenant = _checked_text("tenant", engine.settings.tenant if tenant is None else tenant)
        self._deadline = _checked_deadline(options.get("deadline"))
        self.on_full = _checked_on_full(options.get("on_full"))
        policy = None if retry is None else policy_of(retry)
        self._policy = None if policy is None else json.dumps(dump_policy(policy))
        self._defaults = engine.defaults(_checked_priority(options.get("priority")), policy, self._tenant)
        self._due_at = None
        if not_before is not None:
            self._due_at = time_text(not_before, "not_before", past_allowed=False)
        elif self.joined is not None and not self.joined.sees_commit:
            # A bare connection's commit is not seen: the caretaker finds the jobs once they are there.
            self._due_at = _DUE_AT_ONCE

    def plan(
        self,
        canvas: Any,
        key: str | None,
        ids: tuple[uuid.UUID | None, uuid.UUID | None],
        *,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> starts.Plan:
        require_followable(canvas)
        graph = compile_canvas(canvas, self._catalogue, self._defaults, args=args, kwargs=kwargs)
        _delay_first(graph, self._due_at)
        return starts.plan(
            graph,
            tenant=self._tenant,
            key=None if key is None else _checked_text("key", key),
            policy=self._policy,
            terms=terms_of(graph),
            deadline=self._deadline,
            workflow_id=ids[0],
            job_id=ids[1],
        )


def _start_all(
    engine: Engine,
    plans: Sequence[starts.Plan],
    planner: _Planner,
    *,
    at_once: bool = False,
) -> list[Workflow[Any]]:
    """*at_once* says that they are written with one statement, where the database can."""
    work = partial(starts.start_all, plans=plans, max_open=engine.settings.max_open, on_full=planner.on_full)
    if planner.joined is None:
        engine.ensure_ledger()
        ledger = engine.ledger
        write = ledger.write_statement if at_once else ledger.write
        started = write(work)
    else:
        started = planner.joined.write(engine.ledger, work)
    return [Workflow(engine.ledger, one.workflow_id, is_new=one.is_new) for one in started]


def start_call(engine: Engine, name: str, args: Any, kwargs: Any, options: dict[str, Any]) -> Workflow[Any]:
    """Start a workflow of one step from the arguments of Celery's ``apply_async``."""
    given = {name: value for name, value in options.items() if value is not None}
    unknown = set(given) - _CALL_OPTIONS - _WITHOUT_MEANING
    if unknown:
        option = first_refused(unknown)
        instead = "use agentq.start() for the whole canvas" if option in ("chain", "chord") else "leave it out"
        hint = INSTEAD.get(option, instead)
        raise CanvasError(f"step {name!r}: apply_async does not support {option!r}; {hint}")
    task_id, on_full = given.pop("task_id", None), given.pop("on_full", None)
    canvas = Signature(name, tuple(args or ()), dict(kwargs or {}))
    canvas.set(**{option: value for option, value in given.items() if option in _CALL_OPTIONS})
    return start(engine, canvas, StartOptions(on_full=on_full), task_id=task_id)


def _delay_first(graph: Graph, due_at: str | None) -> None:
    if due_at is None:
        return
    for node in graph.nodes:
        if node.after is None and node.due_at is None:
            node.due_at = due_at


def _checked_text(name: str, text: Any) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= 255 or not text.isprintable():
        raise InvalidArguments(f"{name} is {show(text)}; it must be 1 to 255 printable characters")
    return text


def _checked_deadline(deadline: Any) -> float | None:
    if deadline is not None and not (isinstance(deadline, (int, float)) and 0 < deadline < 1e9):
        raise InvalidArguments(
            f"deadline is {show(deadline)}; it must be over 0 seconds from now, or None for none"
        )
    return None if deadline is None else float(deadline)


def _checked_on_full(on_full: Any) -> OnFull:
    if on_full is None:
        return OnFull.REFUSE
    if on_full not in [*OnFull]:
        raise InvalidArguments(
            f"on_full is {show(on_full)}; it must be {' or '.join(map(repr, map(str, OnFull)))}"
        )
    return OnFull(on_full)


def _checked_priority(priority: Any) -> int | None:
    if priority is not None and priority not in range(10):
        raise InvalidArguments(f"priority is {show(priority)}; it must be 0 to 9, 9 first")
    return None if priority is None else int(priority)
