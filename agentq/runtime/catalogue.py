"""The steps and plain tasks of an app, by name, and the queues that they are routed to."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery

from agentq.exceptions import CanvasError, nearest
from agentq.steps import registry
from agentq.steps.definition import StepDefinition
from agentq.steps.parameters import digest_of


class Catalogue:
    """The names that the canvas compiler asks for, answered by one app."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def step(self, name: str) -> StepDefinition | None:
        """Return the step of this name; None for a plain task. Raises CanvasError where there is neither."""
        found = registry.find(name)
        if found is None and name not in self._app.tasks:
            hint = nearest(name, self._app.tasks)
            raise CanvasError(f"no step or task is named {name!r}; import the module that defines it.{hint}")
        return found

    def signature(self, name: str) -> inspect.Signature | None:
        """Return the signature of a plain task's function; None where Python does not know it."""
        try:
            return inspect.signature(self._app.tasks[name].run)
        except (ValueError, TypeError):  # of a callable without a signature
            return None

    def digest(self, name: str) -> str:
        """Return the digest of a plain task's parameters, as starts keep it; empty where Python reads none."""
        task = self._app.tasks[name]
        if task not in self._digests:
            signature = self.signature(name)
            self._digests[task] = "" if signature is None else digest_of(signature)
        return self._digests[task]

    def queue(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
        """Return the queue that the app routes this call to."""
        own = getattr(self._app.tasks[name], "queue", None)
        route = self._app.amqp.router.route({"queue": own} if own else {}, name, args, kwargs)
        queue = route.get("queue")
        return str(getattr(queue, "name", queue) or self._app.conf.task_default_queue)

    def step_queues(self) -> set[str]:
        """Return every queue that one of the app's steps is routed to."""
        self._app.loader.import_default_modules()
        self._app.finalize()
        return set(self.steps_by_queue())

    def steps_by_queue(self) -> dict[str, list[str]]:
        """Return the names of the steps that are registered, by the queue that each is routed to."""
        found: dict[str, list[str]] = {}
        for step in sorted(registry.all_steps(), key=lambda step: step.name):
            found.setdefault(step.queue or self.queue(step.name, [], {}), []).append(step.name)
        return found

    def queues(self) -> list[str]:
        """Return the app's default queue and every queue that one of its steps is routed to."""
        return sorted(self.step_queues() | {str(self._app.conf.task_default_queue)})
