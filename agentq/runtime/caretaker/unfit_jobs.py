"""Jobs that this worker's code cannot run, such as those of another release, and their messages.

Of some it does not have the step or plain task; of others it has one that does not take their arguments, which an
attempt has found. Their messages are taken from the queue, so that they hold up nothing behind them, and the jobs
stay queued in the ledger. As soon as another live worker can run them, their messages are sent again.
"""

from __future__ import annotations

import logging
import random
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agentq.ledger import knowledge
from agentq.ledger.caretaking import redelivery
from agentq.ledger.knowledge import Need
from agentq.ledger.records import Dispatch
from agentq.ledger.refused_messages import Refusal
from agentq.runtime.caretaker.knowledge import can_run
from agentq.runtime.dispatch.message import CARRIER, DISPATCH_HEADER
from agentq.runtime.refused.raw_message import RawMessage
from agentq.states import JobKind

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine

logger = logging.getLogger(__name__)

_MOST = 10_000
"""Jobs of each sort that one worker remembers. A worker that can run them finds those beyond in the ledger, as it
does jobs whose messages were lost."""
_MOST_NAMED = 100
"""Names that are logged."""
_TOGETHER = 500
"""Jobs in one statement."""
_FEWEST, _AT_ONCE = 10, 200
"""Jobs that are sent again together: fewer where no worker took the last ones."""
_IDLE_PAUSE = 1.0
"""Seconds between two searches for a worker that can run a job, while none is found."""
_SOON, _LATEST = 0.15, 0.8
"""Seconds until the next jobs are sent again, growing where none is taken. Below a second: for so long kombu asks
Redis at a time, and Redis serves who has asked longest, which would always be this same worker."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A step or task that a message asks for and this worker does not have."""

    job_id: uuid.UUID
    kind: JobKind
    name: str


class UnfitJobs:
    """The jobs whose messages this worker took, and that only the code of another release can run."""

    def __init__(self, engine: Engine, refuse: Callable[[RawMessage, Refusal, str], None]) -> None:
        self._engine = engine
        self._refuse = refuse
        self._lock = threading.Lock()
        # A job is in the first of these until the ledger was asked about it, then in the second until it is sent.
        self._messages: dict[uuid.UUID, RawMessage | None] = {}
        self._jobs: dict[uuid.UUID, Need] = {}
        self._sent: set[uuid.UUID] = set()  # the last time, to see which of them come back
        self._takes: dict[uuid.UUID, str] = {}  # the parameters that those need whose arguments do not fit here
        self._logged: set[str] = set()  # names of steps and tasks
        self._window, self._soon = _AT_ONCE, _SOON
        self._has_had_any = False
        self.pause = _IDLE_PAUSE
        """Seconds until ``pass_on`` is to be called again."""

    def __len__(self) -> int:
        return len(self._messages) + len(self._jobs)

    def find(self, headers: Any) -> Unfit | None:
        """Return what a job's message asks for that this worker cannot run; None for all other messages."""
        if not isinstance(headers, dict) or not isinstance(headers.get(DISPATCH_HEADER), int):
            return None
        is_task = headers.get("task") == CARRIER
        kind = JobKind.TASK if is_task else JobKind.STEP
        name = headers.get("shadow" if is_task else "task")
        is_known = isinstance(name, str) and can_run(self._engine.app, kind, name)
        if not isinstance(name, str) or (is_known and not self._takes):
            return None
        try:
            unfit = Unfit(uuid.UUID(headers["id"]), kind, name)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None
        return None if is_known and unfit.job_id not in self._takes else unfit

    def add(self, unfit: Unfit, message: RawMessage) -> None:
        """Note a job; for the thread that consumes, so it never waits for the ledger."""
        is_logged = unfit.name in self._logged or unfit.job_id in self._takes  # the attempt has logged those
        if not is_logged and len(self._logged) < _MOST_NAMED:
            self._logged.add(unfit.name)
            logger.warning(
                "this worker does not know %s %r: its jobs are left for a worker that does; the first is job %s",
                *(unfit.kind, unfit.name, unfit.job_id),
            )
        self._note(unfit.job_id, message)

    def leave(self, job_id: uuid.UUID, takes: str) -> None:
        """Note a job whose arguments do not fit here, for a worker that *takes* them; from any thread."""
        with self._lock:
            if len(self._takes) >= _MOST:
                del self._takes[next(iter(self._takes))]
            self._takes[job_id] = takes
        self._note(job_id, None)

    def _note(self, job_id: uuid.UUID, message: RawMessage | None) -> None:
        with self._lock:
            self._has_had_any = True
            if len(self) < _MOST:
                self._messages[job_id] = message

    def pass_on(self) -> None:
        """Send again the messages of jobs that another live worker can run."""
        self._ask_for_jobs()
        returned = len(self._sent & self._jobs.keys())
        if self._sent:
            self._adapt(is_in_vain=returned == len(self._sent))
        self._sent = set()
        if self._jobs:
            live = self._engine.ledger.read_statement(knowledge.live)
            needs = set(self._jobs.values())
            self._let_go({need for need in needs if need.takes and not live.runs(need)})
            known = {need for need in needs if need.takes or live.may_run(need)}
            self._send([job_id for job_id, need in self._jobs.items() if need in known][: self._window])
        is_vain = self._jobs and not self._sent
        is_idle = is_vain or not self._has_had_any
        self.pause = _IDLE_PAUSE if is_idle else self._soon * random.uniform(0.8, 1.0)

    def give_back(self) -> None:
        """Send all of them again: this worker ends."""
        self._ask_for_jobs()
        jobs = list(self._jobs)
        for first in range(0, len(jobs), _TOGETHER):
            self._send(jobs[first : first + _TOGETHER])

    def _let_go(self, needs: set[Need]) -> None:
        """Let an attempt say what becomes of jobs whose arguments no live worker takes any more."""
        with self._lock:
            for job_id in [job_id for job_id, need in self._jobs.items() if need in needs]:
                self._takes.pop(job_id, None)

    def _ask_for_jobs(self) -> None:
        """Ask the ledger for the jobs that the new messages name: a message alone proves nothing."""
        with self._lock:
            messages = dict(self._messages)
        jobs = list(messages)
        for first in range(0, len(jobs), _TOGETHER):
            asked = jobs[first : first + _TOGETHER]
            needs = self._engine.ledger.read_statement(partial(knowledge.needs_of, jobs=asked))
            for job_id in asked:
                message = messages[job_id]
                if job_id not in needs and message is not None:
                    why = f"no task named {message.task!r} is registered here, and no job {job_id} exists"
                    self._refuse(message, Refusal.UNKNOWN_TASK, why)
            with self._lock:
                for job_id, need in needs.items():
                    self._jobs[job_id] = replace(need, takes=self._takes.get(job_id, ""))
                for job_id in asked:
                    self._messages.pop(job_id, None)

    def _adapt(self, is_in_vain: bool) -> None:
        """Send more at once where others take some, fewer and later where all come back."""
        if is_in_vain:
            self._window, self._soon = max(_FEWEST, self._window // 2), min(_LATEST, self._soon * 2)
        else:
            self._window, self._soon = min(_AT_ONCE, self._window * 2), _SOON

    def _send(self, jobs: list[uuid.UUID]) -> None:
        if not jobs:
            return
        is_published = True

        def publish(dispatches: Sequence[Dispatch]) -> None:
            nonlocal is_published
            is_published = self._engine.dispatcher.publish(dispatches) == len(dispatches)

        self._engine.ledger.write(lambda tx: redelivery.pass_on(tx, jobs), publish=publish)
        if is_published:  # else the broker is away
            for job_id in jobs:
                del self._jobs[job_id]
            self._sent = set(jobs)
