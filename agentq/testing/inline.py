"""``Inline``: workflows that run in the test's own process, by the code that runs them in production."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from itertools import repeat
from types import SimpleNamespace, TracebackType
from typing import Any, Self
from unittest.mock import Mock, patch

from celery import Celery

from agentq.exceptions import InvalidArguments, ResultTimeout
from agentq.ledger.db.session import Ledger
from agentq.ledger.queries.times import next_time
from agentq.runtime.api import agentq_of
from agentq.runtime.caretaker.caretaker import Caretaker
from agentq.runtime.step import Step
from agentq.runtime.workflow import Workflow
from agentq.states import WORKFLOW_FINAL
from agentq.testing.clock import Clock
from agentq.testing.mailbox import Mailbox, MailboxLostMessages
from agentq.testing.memory import MemoryLedger
from agentq.testing.swaps import current, function_of, replaced
from agentq.testing.table import describe

_TICK = timedelta(milliseconds=1)
"""The resolution of the ledger's clock."""


class Inline:
    """Workflows of one app without a broker and a worker, inside the ``with``.

    Start, claim, execution, hand-over, retries and dead letters are those of production, on a ledger in memory. A
    job runs when the test says ``run()`` or asks a workflow for its ``result()``, in the test's own thread; time
    passes when the test says ``advance()`` or, up to its timeout, in ``result()``.

    Args:
        app: the Celery app, with its ``AgentQ``.

    Raises ConfigurationError for an app without one.
    """

    def __init__(self, app: Celery) -> None:
        self.agentq = agentq_of(app)
        self._clock = Clock()
        self._turn = threading.RLock()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        app = self.agentq.app
        with ExitStack() as stack:
            stack.callback(self._clock.close)
            ledger = stack.enter_context(
                MemoryLedger(self._clock, publish=self.agentq.publish, naming=self.agentq.naming)
            )
            self._mailbox = Mailbox(app)
            stack.enter_context(current(app))
            own = {"ledger": ledger, "dispatcher": self._mailbox, "_ready_in": os.getpid()}
            own["passed_on"] = _words_of_pytest()
            own |= {"sleep": self._clock.forward, "asleep": self._clock.aforward}
            stack.enter_context(replaced(self.agentq, **own))
            app.loader.import_default_modules()  # as a worker does
            app.finalize()
            self._caretaker = Caretaker(self.agentq, SimpleNamespace(hostname="inline", pool=None))
            self._caretaker.duties.lost_messages = MailboxLostMessages(app, self._mailbox)
            stack.callback(self._caretaker.end)
            run_to_end = self._in_place_of(Workflow._await_end)
            stack.enter_context(patch.object(Workflow, "_await_end", run_to_end))
            stack.enter_context(patch.object(Workflow, "_aawait_end", _off_loop(run_to_end)))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def ledger(self) -> Ledger:
        """The ledger in memory; for ``agentq.operations``, and sessions of SQLAlchemy on ``ledger.engine``."""
        return self.agentq.ledger

    @property
    def now(self) -> datetime:
        """The time by the ledger's clock, as far ahead of the real one as it was moved."""
        return self.ledger.read(next_time)[0]

    def run(self) -> int:
        """Run all that is ready or due, and what becomes ready by it, to the end; returns how many messages."""
        delivered = 0
        with self._turn:
            while True:
                self._take_care()
                if not self._mailbox.deliver():
                    return delivered
                delivered += 1
                while self._renew() and self._mailbox.deliver():
                    delivered += 1

    def advance(self, by: timedelta | float) -> None:
        """Let time pass, a ``timedelta`` or seconds, and run the jobs that become due on the way, each at its
        time.

        It is the ledger's time: retries, delays, deadlines, expiries. What a step itself asks of Python's clock
        is the real time. Raises InvalidArguments for a move back.
        """
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if not 0 <= seconds < 1e9:
            raise InvalidArguments(f"advance({by!r}): must be a timedelta or seconds from 0 up")
        with self._turn:
            until = self.now + timedelta(seconds=seconds)
            self.run()
            while self._skip(until, with_ticks=True):
                self.run()
            self._clock.forward(max(0.0, (until - self.now).total_seconds()))
            self.run()

    def stub(self, step: Step[..., Any] | str, result: Any) -> Mock:
        """Let the jobs of a step, or of a plain task, give *result* in place of running its function.

        Args:
            step: the step, or its name.
            result: what it returns, checked as its own result; or a function to be called in its place.

        Returns a mock that records its calls. Raises DefinitionError for an unknown name.
        """
        mock = Mock(side_effect=result) if callable(result) else Mock(return_value=result)
        return self._put(step, mock)

    def fail(
        self, step: Step[..., Any] | str, error: BaseException | type[BaseException], times: int | None = None
    ) -> Mock:
        """Let the jobs of a step, or of a plain task, raise *error* in place of running its function.

        Args:
            step: the step, or its name.
            error: what is raised: an error, or a directive such as ``agentq.Retry``.
            times: how often; after that the function runs, or the stub before this one. None for always.

        Returns a mock as ``stub`` does. Raises DefinitionError for an unknown name.
        """
        owner, attribute = function_of(self.agentq.app, step)
        function = getattr(owner, attribute)
        errors = repeat(error) if times is None else repeat(error, times)

        def fail_first(*args: Any, **kwargs: Any) -> Any:
            for failure in errors:
                raise failure
            return function(*args, **kwargs)

        return self._put(step, Mock(side_effect=fail_first))

    def _put(self, step: Step[..., Any] | str, mock: Mock) -> Mock:
        owner, attribute = function_of(self.agentq.app, step)
        self._stack.enter_context(replaced(owner, **{attribute: mock}))
        return mock

    def _take_care(self) -> None:
        """Do what caretakers do, but for what only the loss of a worker or of a message asks for."""
        self._renew()
        self._caretaker.duties.apply_schedules()
        self._caretaker.duties.start_ticks()
        self._caretaker.duties.end_overdue()
        self._caretaker.duties.dispatch_due()
        self._caretaker.duties.enter_unawaited()
        self._caretaker.duties.fill_slots()
        self._caretaker.duties.let_in()
        self._caretaker.duties.issue_dead_letters()

    def _renew(self) -> bool:
        return self._caretaker.renew()

    def _skip(self, until: datetime | None, *, with_ticks: bool = False) -> bool:
        """Go to the next time at which there is something to do, *until* then; False where there is none."""
        now, following = self.ledger.read(partial(next_time, with_ticks=with_ticks))
        if following is None or (until is not None and following > until):
            return False
        self._clock.forward((following - now + _TICK).total_seconds())
        return True

    def _in_place_of(self, await_end: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wait for the end of a workflow: no worker would bring it about."""

        def run_to_end(workflow: Workflow[Any], timeout: float | None) -> Any:
            if workflow._ledger is not self.ledger:
                return await_end(workflow, timeout)
            until = None if timeout is None else self.now + timedelta(seconds=timeout)
            with self._turn:
                self.run()
                while (status := workflow._status()).status not in WORKFLOW_FINAL:
                    if not self._skip(until):
                        passed = "whatever time passes" if timeout is None else f"within {timeout:g} s"
                        raise ResultTimeout(f"it does not end {passed}: {describe(workflow)}")
                    self.run()
            return status

        return run_to_end


def _words_of_pytest() -> tuple[type[BaseException], ...]:
    """Return what ``pytest.fail``, ``skip`` and ``exit`` raise in a stub: they end the test, not the attempt."""
    pytest: Any = sys.modules.get("pytest")  # Inline is for other test runners too
    return () if pytest is None else (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception)


def _off_loop(run_to_end: Callable[..., Any]) -> Callable[..., Any]:
    async def await_end(workflow: Workflow[Any], timeout: float | None) -> Any:
        return await workflow._ledger.in_thread(lambda: run_to_end(workflow, timeout))

    return await_end
