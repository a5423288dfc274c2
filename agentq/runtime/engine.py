"""``Engine``: agentq's parts on one Celery app, for the modules that start and run workflows there."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from celery import Celery

from agentq import settings as settings_module
from agentq.canvas.compile import Defaults
from agentq.embedded import Embedded
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Dispatch
from agentq.policies import Policy
from agentq.policies.limits import (
    Element,
    Key,
    Meters,
    Tokens,
    check_call_limits,
    check_limits,
    declared_by,
    keyed,
    limit_of_queue,
)
from agentq.policies.limits_file import NO_FILE, LimitsFile, read
from agentq.runtime.attempt import plain_task_rules, running
from agentq.runtime.bridge.loop import Stopped
from agentq.runtime.catalogue import Catalogue
from agentq.runtime.dispatch.dispatcher import Dispatcher
from agentq.runtime.schedules.declared import Declarations
from agentq.steps import registry
from agentq.steps.naming import Naming

_PREFIX = "agentq_"


class Engine:
    """The parts of agentq on one Celery app; ``AgentQ`` is an engine with the public ways to start workflows.

    Settings and ledger are made when they are first used: the app may be configured until then.
    """

    def __init__(
        self,
        app: Celery,
        explicit: dict[str, Any],
        limits: Sequence[Element] = (),
        call_limits: Sequence[Element] = (),
    ) -> None:
        self.app = app
        self.limits = check_limits(limits, "AgentQ(…)", ())
        registry.limit_all(self, self.limits)
        self.call_limits = check_call_limits(call_limits, "AgentQ(call_limits=…)")
        self._explicit = explicit
        self._lock = threading.Lock()
        self._ready_in: int | None = None
        # A type would make a circle: the class takes an engine. ``caretaker_of`` gives it as what it is.
        self.caretaker: object | None = None
        """The caretaker, in a worker's main process; None elsewhere."""
        self.passed_on: tuple[type[BaseException], ...] = (Stopped,)
        """Exceptions that end the process of a step, and are no outcome of the step."""
        self.sleep: Callable[[float], None] = time.sleep
        """The pause, in seconds, of a step that waits for a slot."""
        self.asleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        """The same in an event loop."""
        self.schedules: Declarations = {}
        """The schedules that code declares."""
        self.dispatcher = Dispatcher(app)
        self.catalogue = Catalogue(app)

    @cached_property
    def settings(self) -> settings_module.Settings:
        """The settings in force."""
        return settings_module.load(self._explicit, _configured(self.app))

    @cached_property
    def limits_file(self) -> LimitsFile:
        """The limits file, read once in a process."""
        path = self.settings.limits
        return NO_FILE if path is None else read(path)

    def declared_limits(self) -> dict[str, Meters]:
        """Return the limits of code and of ordered queues: meters by the name, for all keys where it has none."""
        return declared_by(self._elements()) | self.limits_of_queues()

    def keyed_limits(self) -> dict[str, Key]:
        """Return the limits of code that have no slots by their name alone: a key of each, by the name."""
        return keyed(self._elements())

    def estimate_of(self, limit: str) -> int | None:
        """Return the tokens that a call of *limit* uses where it does not say; None where code does not either."""
        name = limit.partition(":")[0]
        of_it = [one.estimate for one in self.call_limits if isinstance(one, Tokens) and one.name == name]
        return next((estimate for estimate in of_it if isinstance(estimate, int)), None)

    def _elements(self) -> list[Element]:
        of_steps = (limit for step in registry.all_steps() for limit in step.limits)
        return [*self.limits, *self.call_limits, *of_steps]

    def meters_of(self, limit: str) -> Meters | None:
        """Return the meters of a limit by its name with the key; None where this code does not declare it."""
        declared = self.declared_limits()
        meters = declared.get(limit, declared.get(limit.partition(":")[0]))
        return None if meters is None else self.limits_file.meters_of(limit, meters)

    def cools(self, limit: str) -> bool:
        """Say whether a limit, by its name with the key, has a cooldown: a refused call closes it."""
        declared = self.meters_of(limit)
        return declared is not None and declared.has_cooldown

    def naming(self) -> Naming:
        """Return what names the limits of jobs."""
        return Naming(self.limits, self.limits_file, self.settings.ordered)

    def limits_of_queues(self) -> dict[str, Meters]:
        """Return the limits of ordered queues: meters by the name."""
        return {limit_of_queue(queue): Meters(slots=slots) for queue, slots in self.settings.ordered.items()}

    @cached_property
    def embedded(self) -> Embedded:
        """The private broker and ledger of the folder, used for what is not configured."""
        return Embedded(Path(self.settings.folder))

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; connects on first use."""
        url = self.settings.ledger or self.embedded.ledger_url
        return Ledger(url, timeout=self.settings.ledger_timeout, publish=self.publish, naming=self.naming)

    def publish(self, dispatches: Sequence[Dispatch]) -> None:
        """Publish the messages of jobs that were committed: the ledger calls this after a commit."""
        self.dispatcher.publish(dispatches)

    def ensure_ledger(self) -> None:
        """Check, once per process, that the ledger has this code's schema; make the embedded one.

        Raises SchemaMismatch or LedgerUnavailable.
        """
        # A step's worker checked when it started; an upgrade since then removed nothing, and fails no step.
        if self._ready_in == os.getpid() or running.attempt.get() is not None:
            return
        with self._lock:
            if self.settings.ledger is None:
                from agentq.ledger.db import migrate  # only here: the import of Alembic takes a tenth of the start

                self.embedded.folder.mkdir(mode=0o700, exist_ok=True)
                migrate.upgrade(self.ledger)
            self.ledger.check_schema()
            self._ready_in = os.getpid()

    def defaults(
        self, priority: int | None = None, policy: Policy | None = None, tenant: str | None = None
    ) -> Defaults:
        """Return what holds for all jobs of a workflow that say nothing else."""
        return Defaults(
            priority,
            self.settings.max_value_bytes,
            tenant or self.settings.tenant,
            self.naming(),
            policy,
            partial(plain_task_rules.attempts_of, self.app),
            partial(plain_task_rules.options_of, self.app),
        )


def _configured(app: Celery) -> dict[str, Any]:
    """Return the ``agentq_…`` keys of Celery's configuration, also with a namespace (``CELERY_AGENTQ_…``)."""
    namespace = f"{app.namespace}_".lower() if app.namespace else ""
    names = {str(key).lower().removeprefix(namespace) for key in app.conf}
    return {name.removeprefix(_PREFIX): app.conf[name] for name in names if name.startswith(_PREFIX)}
