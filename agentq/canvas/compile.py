"""Celery's canvas to agentq's graph. A canvas that cannot be started is refused here, with its signature's name.

The rules are Celery's own as they were seen to work in 5.7 (``celery/canvas.py``, ``_chain.prepare_steps`` and
``group._prepared``): nested chains are flattened; in a chain, a group of one stands for its member and an
empty group for nothing; groups directly in a group or a header are flattened in the written order; a group
before anything fans in. ``tests/canvas`` runs one table of canvases on both and compares the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from celery import Signature
from celery.canvas import maybe_signature

from agentq.canvas import each as each_module
from agentq.canvas import fits
from agentq.canvas.fan_ins import Branch, FanIns
from agentq.canvas.graph import Graph, Node
from agentq.exceptions import CanvasError, InvalidArguments, InvalidValue, ValueTooLarge
from agentq.policies import DEFAULT, Policy
from agentq.redaction import show
from agentq.states import VIRTUAL, JobKind
from agentq.steps.step import HARD_LIMIT_AFTER, Step
from agentq.steps.values.encoding import plain

_NO_MEANING = frozenset({"ignore_result", "add_to_parent"})
_TASK_OPTIONS = frozenset(
    {"queue", "priority", "countdown", "eta", "expires", "time_limit", "soft_time_limit", "link"}
    | {"needs", "within", "on_failure"}
)
INSTEAD = {
    "link_error": "handle failures in a function with @agentq.on_dead_letter, which is called for every job that "
    "failed for good, and say with on_failure= what becomes of the workflow",
    "stamped_headers": "distinguish workflows by the tenant and the key of start(), or by their arguments",
    "task_id": "start a signature that is not frozen and has no id: start() returns the workflow, which has one, "
    "and key= names it",
}
"""The replacement for each of Celery's options that a job cannot have."""
_UNSUPPORTED = {
    "celery.map": "each(task.s()), or a step with a loop",
    "celery.starmap": "each(task.s()), or a step with a loop",
    "celery.chunks": "a step that makes a list of lists, then each(task.s())",
}


def first_refused(options: Iterable[str]) -> str:
    """Return the name of a refused option for the error: one that has a replacement, if there is one."""
    return min(options, key=lambda name: (name not in INSTEAD, name))


class TaskNames(Protocol):
    """The steps and plain tasks that a canvas can name, as the compiler looks them up."""

    def step(self, name: str) -> Step[..., Any] | None:
        """Return the step of this name, or None for a plain Celery task; CanvasError where there is none."""

    def signature(self, name: str) -> inspect.Signature | None:
        """Return the parameters of a plain task; None where they cannot be known."""

    def queue(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
        """Return the queue that the app's routes give to a task."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """The options of ``start()`` for all jobs of a workflow."""

    priority: int | None = None
    max_value_bytes: int = 262_144
    policy: Policy | None = None
    """The retry policy of all its jobs; None for each step's own."""
    attempts_of: Callable[[str], int] = lambda name: DEFAULT.attempts
    """The attempts of a job of a plain Celery task, by the task's name."""
    options_of: Callable[[str], Mapping[str, Any]] = lambda name: {}
    """The options of a call that are written on a plain Celery task, by the task's name."""


def compile_canvas(
    canvas: Any,
    catalogue: TaskNames,
    defaults: Defaults,
    *,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> Graph:
    """Return the graph of a canvas.

    *args* and *kwargs* go to the first steps, as Celery's ``canvas.apply_async(args, kwargs)`` gives them.

    Raises CanvasError for a signature that cannot be started and for a step that can never take what the one
    before it gives, InvalidArguments and ValueTooLarge for arguments.
    """
    compiler = _Compiler(catalogue, defaults, item=False)
    graph = compiler.compile(canvas, _Given(args, kwargs or {}))
    compiler.settle()
    if all(node.kind in VIRTUAL for node in graph.nodes):
        raise CanvasError(f"the canvas {show(canvas)} has nothing in it; put at least one step there")
    fits.check(graph)
    return graph


@dataclass(frozen=True, slots=True)
class _Given:
    """Arguments for the first steps of what is compiled."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None


_NOTHING = _Given()


class _Compiler:
    """Turns one canvas into one graph; ``item`` says that its first steps are given an item of an ``each``."""

    def __init__(self, catalogue: TaskNames, defaults: Defaults, *, item: bool) -> None:
        self._catalogue = catalogue
        self._defaults = defaults
        self._item = item
        self._graph = Graph()
        self._linked: list[int] = []
        self._fan_ins = FanIns(self._graph)

    def compile(self, canvas: Any, given: _Given) -> Graph:
        root = _signature(canvas, "the canvas")
        last = self._emit(root, None, given)
        self._graph.last = last
        self._graph.result = self._sole_list(last) if _kind(root) == "group" else last
        if self._linked:
            self._graph.last = self._join(last, *self._linked)
        return self._graph

    def settle(self) -> None:
        """Say of each job what becomes of its workflow if it fails."""
        self._fan_ins.settle(is_linked=bool(self._linked))

    def _emit(self, part: Signature, after: int | None, given: _Given) -> int:
        """Add *part*, to begin when *after* is done; return the node that is done when the part is."""
        steps = _steps_of(part)
        if steps is None:
            return self._emit_one(part, after, given)
        if not steps:
            return self._empty(after)
        last = after
        for number, member in enumerate(steps):
            last = self._emit_one(member, last, given if number == 0 else _NOTHING)
        assert last is not None
        self._link(part, last)
        return last

    def _emit_one(self, part: Signature, after: int | None, given: _Given) -> int:
        _refuse_unsupported(part)
        kind = _kind(part)
        if kind == "group":
            return self._group(_members(part.tasks), after, given)
        if kind == "chord":
            return self._chord(part, after, given)
        if kind == "chain":
            return self._emit(part, after, given)
        if part.task == each_module.NAME:
            return self._each(part, after)
        return self._task(part, after, given)

    def _group(self, members: list[Signature], after: int | None, given: _Given) -> int:
        if not members:
            return self._empty(after)
        branches = []
        for member in members:
            begin = len(self._graph.nodes)
            branches.append(Branch(begin, self._emit(member, after, given)))
        join = self._join(*[branch.end for branch in branches])
        self._fan_ins.add(join, branches)
        return join

    def _chord(self, part: Signature, after: int | None, given: _Given) -> int:
        if part.get("kwargs", {}).get("kwargs"):
            raise CanvasError("a chord with kwargs of its own cannot be started; give them to its header steps")
        if part.body is None:
            raise CanvasError("a chord without a body cannot be started; use a group, or give it a body")
        header = self._group(_members(_header(part)), after, given)
        body = self._emit(_signature(part.body, "a chord's body"), header, _NOTHING)
        self._link(part, body)
        return body

    def _each(self, part: Signature, after: int | None) -> int:
        if after is None and not self._item:
            raise CanvasError("each() stands first in the canvas; put a step that returns a list before it")
        inner = _Compiler(self._catalogue, self._defaults, item=True)
        inner._graph.signatures = self._graph.signatures
        template = inner.compile(part.kwargs["canvas"], _NOTHING)
        if inner._linked:
            raise CanvasError("link= cannot be used inside each(); put the step behind with | instead")
        if all(node.kind is JobKind.JOIN for node in template.nodes):
            raise CanvasError("each() has an empty canvas; give it at least one step")
        node = self._graph.add(Node(JobKind.EACH, each_module.NAME, after=after, template=template))
        self._fan_ins.add_each(node, inner._fan_ins)
        return node

    def _task(self, part: Signature, after: int | None, given: _Given) -> int:
        options = _checked_options(part)
        step = self._catalogue.step(part.task)
        own = self._own_options(part.task, step)
        is_first = after is None and not self._item
        takes_input = not is_first and not part.immutable
        args, kwargs = tuple(part.args or ()), dict(part.kwargs or {})
        if after is None and not part.immutable:
            args, kwargs = (*given.args, *args), {**kwargs, **(given.kwargs or {})}
        positional, named = self._arguments(part.task, step, args, kwargs, takes_input)
        priority = options.get("priority", self._defaults.priority)
        node = Node(
            JobKind.STEP if step else JobKind.TASK,
            part.task,
            args=positional,
            kwargs=named,
            immutable=bool(part.immutable),
            after=after,
            queue=_checked_queue(
                part.task,
                _queue_name(options.get("queue"))
                or (step and step.queue)
                or self._catalogue.queue(part.task, positional, named),
            ),
            priority=priority if priority is not None else own.get("priority"),
            **_limits(part.task, options, own.get("soft_time_limit"), own.get("time_limit")),
            deadline=step.deadline if step else None,
            max_attempts=self._attempts(part.task, step),
            **_times({"expires": own.get("expires") if is_first else None} | options, part.task),
        )
        index = self._graph.add(node)
        self._fan_ins.ask(index, options, step.on_failure if step else None)
        self._link(part, index)
        return index

    def _own_options(self, name: str, step: Step[..., Any] | None) -> Mapping[str, Any]:
        if step is None:
            return self._defaults.options_of(name)
        return {"priority": step.priority, "soft_time_limit": step.timeout, "time_limit": step.hard_timeout}

    def _attempts(self, name: str, step: Step[..., Any] | None) -> int:
        policy = self._defaults.policy or (step and step.policy)
        return policy.attempts if policy else self._defaults.attempts_of(name)

    def _arguments(
        self,
        name: str,
        step: Step[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        takes_input: bool,
    ) -> tuple[list[Any], dict[str, Any]]:
        checked: Any = [args, kwargs]
        if step is None:
            signature = self._catalogue.signature(name)
            if signature is not None:
                self._graph.signatures[name] = signature
        else:
            checked = step.parameters.dump(args, kwargs, given=takes_input)
        try:
            positional, named = plain(list(checked), self._defaults.max_value_bytes)
        except ValueTooLarge as error:
            raise ValueTooLarge(f"the arguments of step {name!r}: {error}") from None
        except InvalidValue as error:
            raise InvalidArguments(f"the arguments of step {name!r}: {error}") from None
        return positional, named

    def _join(self, *members: int) -> int:
        join = self._graph.add(Node(JobKind.JOIN, "agentq.join"))
        for position, member in enumerate(members):
            self._graph.nodes[member].join = join
            self._graph.nodes[member].position = position
        return join

    def _sole_list(self, group: int) -> int:
        """A group alone, whose only member ends in a group, gives that group's list: Celery's special case."""
        members = [index for index, node in enumerate(self._graph.nodes) if node.join == group]
        is_sole = len(members) == 1 and self._graph.nodes[members[0]].kind is JobKind.JOIN
        return members[0] if is_sole else group

    def _empty(self, after: int | None) -> int:
        """A fan-in of nothing: its result is the empty list."""
        return self._graph.add(Node(JobKind.JOIN, "agentq.join", after=after))

    def _link(self, part: Signature, index: int) -> None:
        for linked in _as_list((part.options or {}).get("link")):
            self._linked.append(self._emit(_signature(linked, "link="), index, _NOTHING))


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _limits(name: str, options: dict[str, Any], own_soft: float | None, own_hard: float | None) -> dict[str, Any]:
    """Celery's options of one call win over the step's or the task's own."""
    soft, hard = options.get("soft_time_limit"), options.get("time_limit")
    if soft is None and hard is None:
        soft, hard = own_soft, own_hard
    for option, seconds in (("soft_time_limit", soft), ("time_limit", hard)):
        if seconds is not None and not (_is_seconds(seconds) and seconds > 0):
            raise CanvasError(f"step {name!r}: {option} is {seconds!r}, must be over 0 seconds")
    if soft is not None and hard is None:
        hard = soft + HARD_LIMIT_AFTER
    if soft is not None and hard <= soft:
        raise CanvasError(f"step {name!r}: time_limit is {hard!r}, must be longer than soft_time_limit, {soft!r}")
    return {"timeout": soft, "hard_timeout": hard}


def _signature(value: Any, where: str) -> Signature:
    if isinstance(value, Step):
        raise CanvasError(f"{where} is the step {value.name!r} itself; write {value.__name__}.s(…)")
    if not isinstance(value, dict) or "task" not in value:
        raise CanvasError(f"{where} is {show(value)}, which is no canvas; write step.s(…) or combine those")
    try:
        return maybe_signature(value)
    except Exception as error:
        raise CanvasError(f"{where} cannot be read as a canvas: {error}") from None


def _kind(part: Signature) -> str | None:
    kind = part.subtask_type or {
        "celery.chain": "chain",
        "celery.group": "group",
        "celery.chord": "chord",
    }.get(part.task)
    return kind if kind in ("chain", "group", "chord") else None


def _steps_of(part: Signature) -> list[Signature] | None:
    """Return the steps of a chain, flattened and without groups that say nothing; None for anything else."""
    if _kind(part) != "chain":
        return None
    steps = list(_flattened(part))
    steps = [_sole_member(step) for step in steps]
    meaningful = [step for step in steps if not (_kind(step) == "group" and not list(step.tasks))]
    return meaningful or steps[:1]


def _flattened(chain: Signature) -> Iterable[Signature]:
    _refuse_unsupported(chain)
    for item in chain.tasks:
        step = _signature(item, "an item of a chain")
        if _kind(step) == "chain" and not (step.options or {}).get("link"):
            yield from _flattened(step)
        else:
            yield step


def _sole_member(step: Signature) -> Signature:
    if _kind(step) != "group":
        return step
    _refuse_unsupported(step)
    members = list(step.tasks)
    return _signature(members[0], "a member of a group") if len(members) == 1 else step


def _members(tasks: Iterable[Any]) -> list[Signature]:
    """Return the members of a group or a header, with groups directly in it flattened."""
    members: list[Signature] = []
    for item in tasks:
        member = _signature(item, "a member of a group")
        if _kind(member) == "group":
            _refuse_unsupported(member)
            members += _members(member.tasks)
        elif _kind(member) != "chain" or list(member.tasks):
            members.append(member)
    return members


def _header(chord: Signature) -> Iterable[Any]:
    header: Any = chord.kwargs["header"]
    if isinstance(header, dict):
        header = _signature(header, "a chord's header")
        return list(header.tasks) if _kind(header) in ("group", "chain") else [header]
    return list(header)


def _refuse_unsupported(part: Signature) -> None:
    if part.task in _UNSUPPORTED:
        raise CanvasError(f"{part.task} cannot be started; use {_UNSUPPORTED[part.task]}")
    kind = "each" if part.task == each_module.NAME else _kind(part)
    if kind is None:
        return
    if part.args:
        raise CanvasError(f"{kind}() with arguments of its own cannot be started; give them to its first steps")
    allowed = _NO_MEANING | {"link"} if kind in ("chain", "chord") else _NO_MEANING
    unknown = set(part.options or {}) - allowed
    if unknown:
        name = first_refused(unknown)
        hint = INSTEAD.get(name, "set it on the steps inside it")
        raise CanvasError(f"the option {name!r} on {kind}() is not supported; {hint}")


def _checked_options(part: Signature) -> dict[str, Any]:
    options = {name: value for name, value in (part.options or {}).items() if value is not None}
    unknown = set(options) - _TASK_OPTIONS - _NO_MEANING
    if unknown:
        name = first_refused(unknown)
        hint = INSTEAD.get(name, f"supported are {', '.join(sorted(_TASK_OPTIONS))}")
        raise CanvasError(f"step {part.task!r}: the option {name!r} is not supported in a canvas; {hint}")
    priority = options.get("priority")
    if priority is not None and priority not in range(10):
        raise CanvasError(f"step {part.task!r}: priority is {priority!r}, must be 0 to 9, 9 first")
    return options


def _times(options: dict[str, Any], name: str) -> dict[str, Any]:
    countdown, eta, expires = options.get("countdown"), options.get("eta"), options.get("expires")
    if countdown is not None and not (_is_seconds(countdown) and countdown >= 0):
        raise CanvasError(f"step {name!r}: countdown is {countdown!r}, must be seconds from 0 up")
    if isinstance(expires, (int, float)) and not _is_seconds(expires):
        raise CanvasError(f"step {name!r}: expires is {expires!r}, must be seconds or a time")
    # Relative times stay relative: the ledger's clock makes absolute ones of them.
    expires_in = float(expires) if isinstance(expires, (int, float)) else None
    return {
        "delay": float(countdown) if countdown else None,
        "due_at": time_text(eta, f"step {name!r}: eta"),
        "expires_in": expires_in,
        "expires_at": time_text(expires, f"step {name!r}: expires") if expires_in is None else None,
    }


def time_text(value: Any, what: str, *, past_allowed: bool = True) -> str | None:
    """Return an aware time as ISO text; raises CanvasError for anything that has no clear time.

    A time that passed over a day ago is refused unless *past_allowed*: it is a mistake, not a delay.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise CanvasError(f"{what} is {value!r}, which is no ISO 8601 time") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise CanvasError(f"{what} is {show(value)}; give a datetime with a time zone, such as datetime.now(UTC)")
    if not past_allowed and value < datetime.now(UTC) - timedelta(days=1):
        raise CanvasError(f"{what} is {value.isoformat()}, which is long past; leave it out to start now")
    return value.astimezone(UTC).isoformat()


def _checked_queue(task: str, queue: str) -> str:
    if len(queue) > 255 or not queue.isprintable():
        raise CanvasError(
            f"the queue of {task!r} is {show(queue)}; its name must be 1 to 255 printable characters"
        )
    return queue


def _queue_name(queue: Any) -> str | None:
    return None if queue is None else str(getattr(queue, "name", queue))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
