"""``AgentQ(app)``: agentq on one Celery app."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from celery import Celery
from celery.app import default_app

from agentq.operations.actors import current_user
from agentq.operations.identity import parse_id
from agentq.policies.limits import Element
from agentq.runtime.bridge import configuration, connections
from agentq.runtime.caretaker.bootstep import CaretakerStep
from agentq.runtime.engine import Engine
from agentq.runtime.entry import native_canvas, revokes, task
from agentq.runtime.entry.consumer import ConsumerStep, IntakeStep
from agentq.runtime.entry.queues import ConsumingStep
from agentq.runtime.schedules.applying import Applied, apply_all
from agentq.runtime.schedules.beat import beat_entries
from agentq.runtime.schedules.declared import ScheduleOptions, declare
from agentq.runtime.start import starts
from agentq.runtime.start.options import StartOptions
from agentq.runtime.start.session import Joinable, off_loop
from agentq.runtime.workflow import Workflow

if TYPE_CHECKING:
    from agentq.runtime.start.session import AsyncJoinable


class AgentQ(Engine):
    """Set agentq up on a Celery app.

    Args:
        app: the Celery app whose workers run the steps.
        ledger: URL of the ledger. Default: ``app.conf.agentq_ledger``, else ``AGENTQ_LEDGER``, else a SQLite
            file in ``.agentq``.
        limits: limits of all steps, such as ``Concurrency("all", limit=200)``; a key may be of the tenant only.
        call_limits: limits that no job has as a whole, but calls inside steps: ``ctx.limit("search")``, with a
            key of the call's own ``ctx.limit("search:news")``. No key is given here.
        settings: any other setting of ``agentq.settings.Settings``, by name.

    Raises StepDefinitionError for a limit that makes no sense, and ConfigurationError, when the configuration is
    first used, for a setting that does not fit.
    """

    def __init__(
        self,
        app: Celery,
        *,
        ledger: str | None = None,
        limits: Sequence[Element] = (),
        call_limits: Sequence[Element] = (),
        **settings: Any,
    ) -> None:
        super().__init__(app, {"ledger": ledger, **settings}, limits, call_limits)
        app.agentq = self
        configuration.apply(app)
        app.steps["worker"].update({CaretakerStep, ConsumerStep})
        app.steps["consumer"].update({ConsumingStep, IntakeStep})
        native_canvas.adopt_native_canvases()
        revokes.reach_ledger(app)
        connections.adapt(self)
        # A current app is of one thread: where no app is the default, those of a web server would find none.
        if app.set_as_current and not default_app:
            app.set_default()

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
            on_full: "refuse" (default) or "postpone": over a cap it is written, and begins when there is room.
            session: a SQLAlchemy session (scoped or not) or connection to the ledger's database: the workflow
                is written in its transaction and dispatched after its commit.

        Returns:
            The handle. ``is_new`` is False where the key had been started before.

        Raises:
            CanvasError: a signature of the canvas cannot be started; the message names it.
            StepDefinitionError: *retry* is no policy, or has a predicate.
            InvalidArguments, ValueTooLarge: arguments that do not fit a step, or cannot be kept.
            KeyConflict: the key was used for another canvas or other arguments.
            BacklogFull: as many workflows of the tenant are open, or jobs of a step wait, as may; not where it
                postpones.
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
            tenant, priority, not_before, deadline, retry, on_full, session: as in ``start``, for all of them.

        Returns:
            The handles, in the order of the canvases.

        Raises:
            What ``start`` raises, for the first canvas or key that does not fit; nothing is started then.
        """
        return starts.start_many(self, canvases, options, keys=keys, session=session)

    def schedule(self, name: str, canvas: Any, **options: Unpack[ScheduleOptions]) -> None:
        """Declare a schedule: its canvas is started at each of its ticks, once, however many workers compute it.

        It is written to the ledger when a worker starts, or by ``apply_schedules()`` or ``agentq schedules
        apply``, in place of an earlier definition of its name; workers then start what is due. Steps
        read their tick as ``ctx.scheduled_for``.

        Args:
            name: 1 to 100 letters, digits, ``.``, ``_`` and ``-``; one for each tenant.
            canvas: what to start, as in ``start``; times in it are seconds.
            cron: five fields, such as ``"30 2 * * *"``, read in the *timezone* by the rules of Debian's cron.
            every: in place of cron, a timedelta of whole seconds, from 1 on. It counts from 1970 in UTC, so every
                ten minutes are :00, :10 and so on.
            timezone: the name of a zone for cron, such as ``"Europe/Berlin"``. Default: UTC.
            catch_up: how many missed ticks start a workflow, the newest ones, up to 1,000, or "all" for that many.
                Default: 1. More than one needs ``overlap="allow"``.
            catch_up_window: the age up to which ticks are caught up, from a minute to 31 days. Default: a day.
            overlap: what a tick does while the last workflow is open: "skip" (default), "queue" one until it has
                ended, "allow" both, or "cancel" that one.
            tenant: whose it is. Default: the setting ``tenant``.

        Raises ScheduleError for what makes no sense, and for a second declaration of the name that differs.
        """
        declare(self.schedules, name, canvas, options)

    def apply_schedules(self) -> list[Applied]:
        """Write the declared schedules to the ledger, as each worker does when it starts.

        Returns:
            For each one its name, its tenant and what was done, None where the ledger had it so; or the error of
            one whose canvas cannot be started, which is paused.

        Raises LedgerUnavailable.
        """
        return apply_all(self, current_user())

    def beat_schedule(self) -> dict[str, dict[str, Any]]:
        """Return entries for ``app.conf.beat_schedule`` that ring at the ticks of the declared schedules.

        A ring has no authority: the worker that gets it asks the ledger what is due. Workers find ticks without
        beat too.
        """
        return beat_entries(self)

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


task.install()
