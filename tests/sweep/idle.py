"""The world after the last message: an operator fixes and replays, and time passes."""

from __future__ import annotations

from typing import Any

from agentq import AgentQ
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters, jobs, limits, tenants
from agentq.operations.jobs import JobFilter
from agentq.states import JobStatus
from tests.support.clock import Clock
from tests.sweep import world
from tests.sweep.diary import Diary
from tests.sweep.points import Points
from tests.sweep.scenario import BY_HAND, CLOSED, DESERTED, GIVEN_UP, MISFITS, PAUSED, SHORT
from tests.sweep.steps import TENANT

_MOST_IDLE = 30
"""The number of times that a worker may find nothing to do, and let time pass, until it must be over."""


class Idle:
    """What happens when a worker finds nothing to do; true when all is over, or when it went on for too long."""

    def __init__(self, agentq: AgentQ, diary: Diary, points: Points, clock: Clock, workflows: int) -> None:
        self._workflows = workflows
        self._diary = diary
        self._agentq: Any = agentq
        self._ledger: Ledger = agentq.ledger
        self._points = points
        self._clock = clock
        self._times = 0

    def __call__(self) -> bool:
        self._times += 1
        with self._points.hidden():
            if self._times > _MOST_IDLE or world.is_over(self._ledger, self._workflows):
                return True
            letters = world.open_letters(self._ledger)
        for letter_id, about in letters:
            if about in GIVEN_UP:
                dead_letters.cancel(self._ledger, str(letter_id), actor="ann", reason="not worth it")
                continue
            if about in BY_HAND:
                self._do_by_hand(str(letter_id))
                continue
            if about in SHORT:
                dead_letters.resolve(self._ledger, str(letter_id), actor="ann", reason="it is enough")
                continue
            if about in MISFITS:
                dead_letters.edit(self._ledger, str(letter_id), args=[1], actor="ann", reason="a number")
            self._diary.fix()
            dead_letters.replay(self._ledger, str(letter_id), actor="ann", reason="fixed")
        with self._points.hidden():
            closed = jobs.list_(self._ledger, JobFilter(queue=CLOSED, status=JobStatus.QUEUED))
        for job in closed:
            jobs.move(self._ledger, str(job.id), "celery", actor="ann", reason="nobody consumes it")
        self._run_limits()
        with self._points.hidden():
            world.let_time_pass(self._ledger, self._agentq.caretaker.worker_id)
        self._clock.put_forward(world.LONG)
        return False

    def _run_limits(self) -> None:
        """Weigh the tenant, pause a limit and resume it, and move the job whose slot was taken back."""
        with self._points.hidden():
            names = [limit.name for limit in limits.list_(self._ledger)]
            deserted = jobs.list_(self._ledger, JobFilter(queue=DESERTED))
        if PAUSED in names and self._times == 1:
            tenants.set_weight(self._ledger, TENANT, 2)
            limits.pause(self._ledger, PAUSED, actor="ann", reason="the provider is down")
        elif PAUSED in names and self._times == 2:
            limits.resume(self._ledger, PAUSED, actor="ann", reason="it is up")
        # After a crash it may have its slot again, with no other job behind it.
        movable = {JobStatus.BLOCKED} if self._times < 3 else {JobStatus.BLOCKED, JobStatus.QUEUED}
        for job in (one for one in deserted if one.status in movable):
            jobs.move(self._ledger, str(job.id), "celery", actor="ann", reason="nobody consumes it")

    def _do_by_hand(self, letter_id: str) -> None:
        who = {"actor": "ann", "reason": "only a person can"}
        dead_letters.assign(self._ledger, letter_id, owner="ann", **who)
        dead_letters.edit(self._ledger, letter_id, args=["what it was about"], **who)
        dead_letters.resolve(self._ledger, letter_id, result="done by hand", **who)
