"""``Workflow``: the handle of one started canvas."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from types import NoneType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celery.result import AsyncResult

from agentq.exceptions import DefinitionError, InvalidArguments, InvalidResult, ResultTimeout
from agentq.ledger.queries import workflows
from agentq.operations import dead_letters, workflow_waits
from agentq.operations import events as event_operations
from agentq.operations import jobs as job_operations
from agentq.operations import workflows as operations
from agentq.operations.schemas import DeadLetterSummary, Event, Job
from agentq.runtime.attempt import running
from agentq.states import WORKFLOW_FINAL, WorkflowStatus
from agentq.steps import registry

if TYPE_CHECKING:
    from agentq.ledger.db.session import Ledger

R = TypeVar("R", covariant=True)

_CELERY_STATES = {
    WorkflowStatus.RUNNING: "STARTED",
    WorkflowStatus.SUCCEEDED: "SUCCESS",
    WorkflowStatus.FAILED: "FAILURE",
    WorkflowStatus.CANCELLED: "REVOKED",
}


_LATE, _SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 0.0005, 0.2
"""The end is noticed at most this share of the wait later; bounds of the pause between two queries, in seconds."""


class Workflow(Generic[R]):
    """Follow a workflow: each property asks the ledger, so a handle can be made anywhere from its id.

    It also answers to what Celery's ``AsyncResult`` is asked most: ``get``, ``ready``, ``successful``,
    ``failed``, ``state``.
    """

    def __init__(self, ledger: Ledger, workflow_id: uuid.UUID, *, is_new: bool = False) -> None:
        self._ledger = ledger
        self._id = workflow_id
        self.is_new = is_new
        """True where this start wrote the workflow, False where its key had been started before."""

    @property
    def id(self) -> str:
        """The workflow's id."""
        return str(self._id)

    @property
    def status(self) -> WorkflowStatus:
        """The workflow's status now; raises NotFound for an unknown workflow."""
        return WorkflowStatus(self._status().status)

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end and return the result, rebuilt as the last step's annotation says.

        Args:
            timeout: seconds to wait; None waits for ever, 0 does not wait.

        Raises:
            StepFailed: a step failed for good; carries its error.
            WorkflowCancelled: it was cancelled or expired.
            ResultTimeout: it did not end in time; it goes on. Says what it waits for, unless *timeout* is 0.
            DefinitionError: a step waits for it, and it has not ended: it may need the very slot that waits.
        """
        self._require_may_wait(timeout)
        return self._result_of(self._await_end(timeout))

    async def aresult(self, timeout: float | None = None) -> R:
        """Wait for the end as ``result`` does, from an event loop, which is not blocked."""
        await self._ledger.in_thread(lambda: self._require_may_wait(timeout))
        status = await self._aawait_end(timeout)
        return await self._ledger.in_thread(lambda: self._result_of(status))

    async def astatus(self) -> WorkflowStatus:
        """Return ``status``, from an event loop."""
        return await self._ledger.in_thread(lambda: self.status)

    async def ajobs(self) -> list[Job]:
        """Return ``jobs()``, from an event loop."""
        return await self._ledger.in_thread(self.jobs)

    async def acancel(self, reason: str = "", *, actor: str = "") -> bool:
        """Cancel it as ``cancel`` does, from an event loop."""
        return await self._ledger.in_thread(lambda: self.cancel(reason, actor=actor))

    def cancel(self, reason: str = "", *, actor: str = "") -> bool:
        """Cancel it and all its jobs that are not done; False where it had ended before.

        Args:
            reason: why, for the history.
            actor: who, for the history. Default: the name of the process's user.
        """
        return operations.cancel(self._ledger, self.id, reason=reason, actor=actor)

    def revoke(self, *args: Any, **ignored: Any) -> None:
        """Celery's name for ``cancel``; its arguments are accepted and have no meaning."""
        self.cancel("it was revoked")

    def cancel_job(self, job_id: str, reason: str = "", *, actor: str = "") -> bool:
        """Cancel one job and the jobs that need it: a member of a fan-in that can do without, or the whole
        workflow.

        Args:
            job_id: the job, of this workflow.
            reason: why, for the history.
            actor: who, for the history. Default: the name of the process's user.

        Returns False where the job had ended before. Raises NotFound where this workflow has no such job.
        """
        return job_operations.cancel(self._ledger, job_id, workflow=self.id, reason=reason, actor=actor)

    def jobs(self) -> list[Job]:
        """Return its jobs, oldest first, joins included."""
        return job_operations.of_workflow(self._ledger, self.id)

    def events(
        self, after: str | None = None, timeout: float | None = None, follow: bool = True
    ) -> Iterator[Event]:
        """Yield its events, from the start to its end: reports of steps, and ends of attempts.

        Args:
            after: the id of the last event that is known, to go on after a disconnect; None for all.
            timeout: seconds after which it ends though the workflow goes on; None for never.
            follow: whether to wait for what comes, rather than end with what is there.

        Raises NotFound where there is no such workflow, InvalidArguments for a text that is no event's id.
        """
        return event_operations.follow(self._ledger, self.id, after=after, timeout=timeout, follow=follow)

    def aevents(
        self, after: str | None = None, timeout: float | None = None, follow: bool = True
    ) -> AsyncIterator[Event]:
        """Yield the same as ``events``, for ``async for``."""
        return event_operations.afollow(self._ledger, self.id, after=after, timeout=timeout, follow=follow)

    def dead_letters(self) -> list[DeadLetterSummary]:
        """Return its open dead letters, newest first."""
        return dead_letters.list_(self._ledger, dead_letters.DeadLetterFilter(workflow=self.id))

    def get(self, timeout: float | None = None, *, disable_sync_subtasks: bool = True, **ignored: Any) -> R:
        """Celery's name for ``result``; further arguments of Celery's are accepted and have no meaning.

        With ``disable_sync_subtasks=False`` a step may wait: other workers run what it waits for.
        """
        if disable_sync_subtasks:
            return self.result(timeout)
        return self._result_of(self._await_end(timeout))

    def ready(self) -> bool:
        """Say whether it has ended."""
        return self.status in WORKFLOW_FINAL

    def successful(self) -> bool:
        """Say whether it ended with a result."""
        return self.status is WorkflowStatus.SUCCEEDED

    def failed(self) -> bool:
        """Say whether a step failed for good."""
        return self.status is WorkflowStatus.FAILED

    @property
    def state(self) -> str:
        """Celery's word for the status: STARTED, SUCCESS, FAILURE or REVOKED."""
        return _CELERY_STATES[self.status]

    if not TYPE_CHECKING:  # where every name would be known

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("_") and hasattr(AsyncResult, name):
                raise AttributeError(
                    f"a Workflow has nothing of the name {name!r}, which Celery's AsyncResult has: it answers to "
                    "get, ready, successful, failed, state and revoke. Instead of a ResultSet, start one canvas "
                    "with a group in it, or ask each workflow"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workflow) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self._id)

    def __repr__(self) -> str:
        return f"<Workflow {self.id}>"

    def _status(self) -> Any:
        return self._ledger.read_statement(lambda connection: workflows.workflow_status(connection, self._id))

    def _result_of(self, status: Any) -> R:
        step_name, value = self._ledger.read_statement(
            lambda connection: workflows.workflow_result(connection, status)
        )
        step = registry.find(step_name)
        try:
            rebuilt: R = value if step is None else step.parameters.load_result(value)
        except InvalidResult as error:
            raise InvalidResult(
                f"{error}. It is kept as it was returned, before the annotation or a validator changed: let the "
                f"annotation take it too, or look at its last job; its jobs: agentq workflows show {self.id}"
            ) from None
        return rebuilt

    def _require_may_wait(self, timeout: float | None) -> None:
        waiting = running.attempt.get()
        if waiting is not None and timeout != 0 and not self.ready():
            raise DefinitionError(
                f"step {waiting.step!r} waits for workflow {self.id}, which may need the very worker slot that "
                "waits; compose both in one canvas, or start it in ctx.on_complete and let the step end. Where "
                "workers of another queue run it, wait with get(disable_sync_subtasks=False)"
            )

    def _await_end(self, timeout: float | None) -> Any:
        wait = _Wait(timeout)
        while (status := self._status()).status not in WORKFLOW_FINAL:
            if wait.is_over:
                raise self._late(status.status, timeout)
            time.sleep(wait.pause())
        return status

    async def _aawait_end(self, timeout: float | None) -> Any:
        wait = _Wait(timeout)
        while (status := await self._ledger.in_thread(self._status)).status not in WORKFLOW_FINAL:
            if wait.is_over:
                raise await self._ledger.in_thread(lambda: self._late(status.status, timeout))
            await asyncio.sleep(wait.pause())
        return status

    def _late(self, status: str, timeout: float | None) -> ResultTimeout:
        # A caller with timeout=0 may ask often, and for no more than the status.
        why = workflow_waits.explanation(self._ledger, self.id) if timeout else ""
        return ResultTimeout(
            f"workflow {self.id} is {status} after {timeout:g} s and goes on; look with: agentq workflows show "
            f"{self.id}{'. ' if why else ''}{why}"
        )


class _Wait:
    """The rest of a wait for the end of a workflow, and the pause until the next query."""

    def __init__(self, timeout: float | None) -> None:
        if not isinstance(timeout, (int, float, NoneType)) or timeout != timeout:
            raise InvalidArguments(f"timeout is {timeout!r}; it must be seconds, 0 not to wait, None for no end")
        self._timeout = math.inf if timeout is None else timeout
        self._began_at = time.monotonic()

    @property
    def is_over(self) -> bool:
        """True after the time is over."""
        return self._waited >= self._timeout

    def pause(self) -> float:
        """Return the seconds until the next query."""
        # In proportion to the wait: what ends soon is noticed soon, what takes long is not asked for often.
        pause = min(max(self._waited * _LATE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        return max(min(pause, self._timeout - self._waited), 0.0)

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._began_at
