"""Celery's canvas to agentq's graph. A canvas that cannot be started is refused here, with its signature's name.

The meaning of a canvas is Celery's: ``flattening`` has the rules by which chains, groups and headers are read, and
a group before anything fans in. ``tests/canvas`` runs one table of canvases on both and compares the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from celery import Signature

from agentq.canvas import each as each_module
from agentq.canvas import fits
from agentq.canvas import sleep as sleep_module
from agentq.canvas.fan_ins import Branch, FanIns
from agentq.canvas.flattening import header_of, members_of, steps_of
from agentq.canvas.graph import Graph, Node
from agentq.canvas.options import checked_options, checked_queue, limits_of, queue_name, times_of
from agentq.canvas.signatures import primitive_of, require_supported, signature_of
from agentq.exceptions import CanvasError, InvalidArguments, InvalidValue, ValueTooLarge
from agentq.policies import DEFAULT, Policy
from agentq.policies.limits import Meters, meters_of
from agentq.redaction import show
from agentq.states import RUNNABLE, JobKind
from agentq.steps.definition import StepDefinition
from agentq.steps.naming import JobLimits, Naming
from agentq.steps.values.encoding import plain


class TaskNames(Protocol):
    """The steps and plain tasks that a canvas can name, as the compiler looks them up."""

    def step(self, name: str) -> StepDefinition | None:
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
    tenant: str = "default"
    naming: Naming = field(default_factory=Naming)
    """The source of the names of its jobs' limits."""
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
    if not any(node.kind in RUNNABLE for node in graph.nodes):
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
        root = signature_of(canvas, "the canvas")
        last = self._emit(root, None, given)
        self._graph.last = last
        self._graph.result = self._sole_list(last) if primitive_of(root) == "group" else last
        if self._linked:
            self._graph.last = self._join(last, *self._linked)
        return self._graph

    def settle(self) -> None:
        """Say of each job what becomes of its workflow if it fails."""
        self._fan_ins.settle(is_linked=bool(self._linked))

    def _emit(self, part: Signature, after: int | None, given: _Given) -> int:
        """Add *part*, to begin when *after* is done; return the node that is done when the part is."""
        steps = steps_of(part)
        if steps is None:
            return self._emit_one(part, after, given)
        if not steps:
            return self._empty(after)
        last = after
        for member in steps:
            last = self._emit_one(member, last, given)
            given = given if self._gives_nothing(last) else _NOTHING
        assert last is not None
        self._link(part, last)
        return last

    def _emit_one(self, part: Signature, after: int | None, given: _Given) -> int:
        require_supported(part)
        kind = primitive_of(part)
        if kind == "group":
            return self._group(members_of(part.tasks), after, given)
        if kind == "chord":
            return self._chord(part, after, given)
        if kind == "chain":
            return self._emit(part, after, given)
        if part.task == each_module.NAME:
            return self._each(part, after)
        if part.task == sleep_module.NAME:
            return self._sleep(part, after)
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
        header = self._group(members_of(header_of(part)), after, given)
        body = self._emit(signature_of(part.body, "a chord's body"), header, _NOTHING)
        self._link(part, body)
        return body

    def _each(self, part: Signature, after: int | None) -> int:
        if self._is_first(after):
            raise CanvasError("each() stands first in the canvas; put a step that returns a list before it")
        inner = _Compiler(self._catalogue, self._defaults, item=True)
        inner._graph.signatures, inner._graph.meters = self._graph.signatures, self._graph.meters
        inner._graph.caps = self._graph.caps
        template = inner.compile(part.kwargs["canvas"], _NOTHING)
        if inner._linked:
            raise CanvasError("link= cannot be used inside each(); put the step behind with | instead")
        if all(node.kind in (JobKind.JOIN, JobKind.SLEEP) for node in template.nodes):
            raise CanvasError("each() has an empty canvas; give it at least one step")
        node = self._graph.add(Node(JobKind.EACH, each_module.NAME, after=after, template=template))
        self._fan_ins.add_each(node, inner._fan_ins)
        return node

    def _sleep(self, part: Signature, after: int | None) -> int:
        node = Node(JobKind.SLEEP, sleep_module.NAME, after=after)
        node.delay, node.due_at = part.kwargs.get("seconds"), part.kwargs.get("until")
        return self._graph.add(node)

    def _is_first(self, after: int | None) -> bool:
        """Say whether nothing is given to what comes after this node."""
        return self._gives_nothing(after) if after is not None else not self._item

    def _gives_nothing(self, index: int) -> bool:
        node = self._graph.nodes[index]
        return node.kind is JobKind.SLEEP and self._is_first(node.after)

    def _task(self, part: Signature, after: int | None, given: _Given) -> int:
        options = checked_options(part)
        step = self._catalogue.step(part.task)
        own = self._own_options(part.task, step)
        is_first = self._is_first(after)
        takes_input = not is_first and not part.immutable
        args, kwargs = tuple(part.args or ()), dict(part.kwargs or {})
        if is_first and not part.immutable:
            args, kwargs = (*given.args, *args), {**kwargs, **(given.kwargs or {})}
        positional, named = self._arguments(part.task, step, args, kwargs, takes_input)
        priority = options.get("priority", self._defaults.priority)
        queue = checked_queue(
            part.task,
            queue_name(options.get("queue"))
            or (step and step.queue)
            or self._catalogue.queue(part.task, positional, named),
        )
        is_unnamed = takes_input and self._defaults.naming.is_for_later(step)
        limits = JobLimits() if is_unnamed else self._limits_of(step, queue, args, kwargs, takes_input)
        node = Node(
            JobKind.STEP if step else JobKind.TASK,
            part.task,
            args=positional,
            kwargs=named,
            immutable=bool(part.immutable) or (is_first and after is not None),
            after=after,
            queue=queue,
            priority=priority if priority is not None else own.get("priority"),
            **limits_of(part.task, options, own.get("soft_time_limit"), own.get("time_limit")),
            deadline=step.deadline if step else None,
            max_attempts=self._attempts(part.task, step),
            **times_of(part.task, {"expires": own.get("expires") if is_first else None} | options),
            limits=limits.names,
            tokens=limits.tokens,
            pays=limits.pays or is_unnamed,
            is_unnamed=is_unnamed,
            is_counted=step is not None and step.max_backlog is not None,
        )
        if step and step.max_backlog is not None:
            self._graph.caps[step.name] = step.max_backlog
        if node.hard_timeout is None:
            strict = [name for name, meters in limits.meters.items() if meters.is_strict]
            if is_unnamed:
                elements = self._defaults.naming.elements_of(step)
                strict = [element.name for element in elements if meters_of(element).is_strict]
            if strict:
                raise CanvasError(
                    f"step {part.task!r} has no hard timeout, and limit {strict[0]!r} is strict: a lost attempt "
                    "keeps its slot for so long; give it one with @step(hard_timeout=…)"
                )
        index = self._graph.add(node)
        self._fan_ins.ask(index, options, step.on_failure if step else None)
        self._link(part, index)
        return index

    def _own_options(self, name: str, step: StepDefinition | None) -> Mapping[str, Any]:
        if step is None:
            return self._defaults.options_of(name)
        return {"priority": step.priority, "soft_time_limit": step.timeout, "time_limit": step.hard_timeout}

    def _attempts(self, name: str, step: StepDefinition | None) -> int:
        policy = self._defaults.policy or (step and step.policy)
        return policy.attempts if policy else self._defaults.attempts_of(name)

    def _arguments(
        self,
        name: str,
        step: StepDefinition | None,
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

    def _limits_of(
        self,
        step: StepDefinition | None,
        queue: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        takes_input: bool,
    ) -> JobLimits:
        """The limits of a job, all of which can be named now."""
        naming, arguments = self._defaults.naming, {}
        if step and naming.elements_of(step):
            arguments = step.parameters.arguments(args, kwargs, given=takes_input)
        found = naming.name(step, queue, self._defaults.tenant, arguments)
        for name, meters in found.meters.items():
            known = self._graph.meters.get(name, Meters())
            self._graph.meters[name] = naming.file.meters_of(name, known | meters)
        return found

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
            self._linked.append(self._emit(signature_of(linked, "link="), index, _NOTHING))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
