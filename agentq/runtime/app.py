"""``AgentQ(app)``: agentq on one Celery app."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from celery import Celery
from celery.app import default_app

from agentq import settings as settings_module
from agentq.canvas.compile import Defaults
from agentq.embedded import Embedded
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Dispatch
from agentq.operations.identity import parse_id
from agentq.policies import Policy
from agentq.runtime.attempt import plain_tasks, running
from agentq.runtime.bridge import configuration
from agentq.runtime.bridge.loop import Stopped
from agentq.runtime.caretaker.caretaker import Caretaker, CaretakerStep
from agentq.runtime.catalogue import Catalogue
from agentq.runtime.dispatch.dispatcher import Dispatcher
from agentq.runtime.entry import native_canvas, revokes, task
from agentq.runtime.entry.consumer import ConsumerStep, IntakeStep
from agentq.runtime.entry.queues import ConsumingStep
from agentq.runtime.start import starts
from agentq.runtime.start.options import StartOptions
from agentq.runtime.start.session import Joinable, off_loop
from agentq.runtime.workflow import Workflow

if TYPE_CHECKING:
    from agentq.runtime.start.session import AsyncJoinable

_PREFIX = "agentq_"


class AgentQ:
    """Set agentq up on a Celery app.

    Args:
        app: the Celery app whose workers run the steps.
        ledger: URL of the ledger. Default: ``app.conf.agentq_ledger``, else ``AGENTQ_LEDGER``, else a SQLite
            file in ``.agentq``.
        settings: any other setting of ``agentq.settings.Settings``, by name.

    Raises ConfigurationError, when the configuration is first used, for a setting that does not fit.
    """

    def __init__(self, app: Celery, *, ledger: str | None = None, **settings: Any) -> None:
        self.app = app
        self._explicit = {"ledger": ledger, **settings}
        self._lock = threading.Lock()
        self._ready_in: int | None = None
        app.agentq = self
        self.caretaker: Caretaker | None = None
        """The caretaker, in a worker's main process."""
        self.passed_on: tuple[type[BaseException], ...] = (Stopped,)
        """Exceptions that end the process of a step, and are no outcome of the step."""
        self.dispatcher = Dispatcher(app)
        self.catalogue = Catalogue(app)
        configuration.apply(app)
        app.steps["worker"].update({CaretakerStep, ConsumerStep})
        app.steps["consumer"].update({ConsumingStep, IntakeStep})
        native_canvas.adopt_native_canvases()
        revokes.reach_ledger(app)
        self._embed_broker()
        # A current app is of one thread: where no app is the default, those of a web server would find none.
        if app.set_as_current and not default_app:
            app.set_default()

    @cached_property
    def settings(self) -> settings_module.Settings:
        """The settings in force."""
        return settings_module.load(self._explicit, _configured(self.app))

    @cached_property
    def embedded(self) -> Embedded:
        """The private broker and ledger of the folder, used for what is not configured."""
        return Embedded(Path(self.settings.folder))

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; connects on first use."""
        url = self.settings.ledger or self.embedded.ledger_url
        return Ledger(url, timeout=self.settings.ledger_timeout, publish=self.publish)

    def start(
        self,
        canvas: Any,
        *,
        key: str | None = None,
        session: Joinable | None = None,
        **options: Unpack[StartOptions],
    ) -> Workflow[Any]:
        """Start a workflow: once this returned, it runs to its end, whatever dies.

        Args:
            canvas: what to run, in Celery's canvas language: ``a.s(1) | each(b.s()) | c.s()``.
            tenant: whose it is. Default: the setting ``tenant``.
            key: an idempotency key, unique per tenant: the same start again returns the same workflow.
            priority: 0 to 9, 9 first, for all its jobs that say nothing else.
            not_before: an aware datetime; the first steps run no earlier.
            deadline: seconds from now within which it must be done; then it is cancelled.
            retry: a retry policy for all its jobs, in place of each step's own: as in ``@step(retry=…)``, but
                without predicates, since it is kept in the ledger.
            session: a SQLAlchemy session (scoped or not) or connection to the ledger's database: the workflow
                is written in its transaction and dispatched after its commit.

        Returns:
            The handle. ``is_new`` is False where the key had been started before.

        Raises:
            CanvasError: a signature of the canvas cannot be started; the message names it.
            StepDefinitionError: *retry* is no policy, or has a predicate.
            InvalidArguments, ValueTooLarge: arguments that do not fit a step, or cannot be kept.
            KeyConflict: the key was used for another canvas or other arguments.
            LedgerUnavailable: nothing was started.
        """
        return starts.start(self, canvas, options, key=key, session=session)

    def start_many(
        self,
        canvases: Iterable[Any],
        *,
        keys: Iterable[str] | None = None,
        session: Joinable | None = None,
        **options: Unpack[StartOptions],
    ) -> list[Workflow[Any]]:
        """Start many workflows in one transaction: all of them, or none. Far cheaper than one by one.

        Args:
            canvases: what to run: a workflow for each. A start holds them all in memory, about 10 KB each.
            keys: an idempotency key for each canvas, in the same order; each at most once.
            tenant, priority, not_before, deadline, retry, session: as in ``start``, for all of them.

        Returns:
            The handles, in the order of the canvases.

        Raises:
            What ``start`` raises, for the first canvas or key that does not fit; nothing is started then.
        """
        return starts.start_many(self, canvases, options, keys=keys, session=session)

    def workflow(self, workflow_id: str) -> Workflow[Any]:
        """Return the handle of a workflow that was started before; asking it raises NotFound if there is none."""
        self.ensure_ledger()
        return Workflow(self.ledger, parse_id(workflow_id, "workflow"))

    async def astart(
        self,
        canvas: Any,
        *,
        key: str | None = None,
        session: AsyncJoinable | None = None,
        **options: Unpack[StartOptions],
    ) -> Workflow[Any]:
        """Start a workflow from an event loop, which is not blocked: ``start`` in every other respect.

        Args:
            canvas, key, options: as in ``start``.
            session: SQLAlchemy's AsyncSession or AsyncConnection to the ledger's database: the workflow is written
                in its transaction and dispatched after its commit. Without one it is written in a thread.
        """
        return await off_loop(self, session, lambda joined: self.start(canvas, key=key, session=joined, **options))

    async def astart_many(
        self,
        canvases: Iterable[Any],
        *,
        keys: Iterable[str] | None = None,
        session: AsyncJoinable | None = None,
        **options: Unpack[StartOptions],
    ) -> list[Workflow[Any]]:
        """Start many workflows in one transaction from an event loop; see ``start_many`` and ``astart``."""
        return await off_loop(
            self, session, lambda joined: self.start_many(canvases, keys=keys, session=joined, **options)
        )

    async def aworkflow(self, workflow_id: str) -> Workflow[Any]:
        """Return the handle of a workflow, as ``workflow`` does, from an event loop."""
        return await self.ledger.in_thread(lambda: self.workflow(workflow_id))

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

    def defaults(self, priority: int | None = None, policy: Policy | None = None) -> Defaults:
        """Return what holds for all jobs of a workflow that say nothing else."""
        return Defaults(
            priority,
            self.settings.max_value_bytes,
            policy,
            partial(plain_tasks.attempts_of, self.app),
            partial(plain_tasks.options_of, self.app),
        )

    def _embed_broker(self) -> None:
        """Use the private broker where no broker is configured, started by the first connection."""
        self.app.on_after_configure.connect(self._use_embedded_broker, weak=False)
        for name in ("connection_for_read", "connection_for_write"):
            setattr(self.app, name, self._started_first(getattr(self.app, name)))
        self.app.connection_for_write = self._answering_in_time(self.app.connection_for_write)

    def _use_embedded_broker(self, **_: Any) -> None:
        if not (self.app.conf.broker_url or os.environ.get("CELERY_BROKER_URL")):
            self.app.conf.broker_url = self.embedded.broker_url

    def _started_first(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        def connect_to_running(*args: Any, **kwargs: Any) -> Any:
            if self.app.conf.broker_url == self.embedded.broker_url:
                self.embedded.start()
            return connect(*args, **kwargs)

        return connect_to_running

    def _answering_in_time(self, connect: Callable[..., Any]) -> Callable[..., Any]:
        """Bound the wait for a Redis that takes connections but does not answer: its client has no limit."""

        def connect_with_timeouts(*args: Any, transport_options: Any = None, **kwargs: Any) -> Any:
            options = {**configuration.broker_timeouts(self.app.conf), **(transport_options or {})}
            return connect(*args, transport_options=options, **kwargs)

        return connect_with_timeouts


def _configured(app: Celery) -> dict[str, Any]:
    """Return the ``agentq_…`` keys of Celery's configuration, also with a namespace (``CELERY_AGENTQ_…``)."""
    namespace = f"{app.namespace}_".lower() if app.namespace else ""
    names = {str(key).lower().removeprefix(namespace) for key in app.conf}
    return {name.removeprefix(_PREFIX): app.conf[name] for name in names if name.startswith(_PREFIX)}


task.install()
