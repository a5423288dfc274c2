"""The condition that a job waits for, in words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentq.canvas.needs import worded
from agentq.ledger.db.types import AnyRow
from agentq.ledger.knowledge import Live, Need, parameters_at_start
from agentq.ledger.queries.limits import Lines
from agentq.ledger.queries.postponed import Awaited
from agentq.operations.slot_waits import cap_awaited, limit_awaited
from agentq.states import FAN_INS, OTHER_PARAMETERS, UNKNOWN_TASK, BlockedBy, JobStatus

LEFT = (UNKNOWN_TASK, OTHER_PARAMETERS)
"""Classes of the error of a job that a worker left for one of another release."""


@dataclass(frozen=True, slots=True)
class Waits:
    """The conditions that jobs wait for: live workers, terms of those left, failed jobs before them, lines."""

    live: Live
    terms: Mapping[uuid.UUID, str | None]
    failed: Mapping[uuid.UUID, Sequence[AnyRow]]
    lines: Lines
    caps: Mapping[uuid.UUID, Awaited]

    def of(self, row: AnyRow, members: int = 0) -> str | None:
        """Return the condition of a job; None where it runs or has ended. *members* are those of a fan-in."""
        if row.id in self.caps:
            return cap_awaited(self.caps[row.id])
        match row.status:
            case JobStatus.WAITING if members:
                return _members_awaited(row, members) + self._failed_before(row)
            case JobStatus.SCHEDULED if row.error_class in LEFT:
                return self._left_for(row)
            case JobStatus.WAITING:
                before = f"{row.remaining} job(s) before it" if row.remaining else "its place in the workflow"
                return before + self._failed_before(row)
            case JobStatus.SCHEDULED:
                why = f" ({row.due_reason})" if row.due_reason else ""
                return f"its time, {row.due_at:%Y-%m-%d %H:%M:%S} UTC{why}"
            case JobStatus.BLOCKED if row.blocked_by == BlockedBy.BACKLOG:  # let in since it was read
                return "its place in the workflow"
            case JobStatus.BLOCKED:
                return limit_awaited(self.lines, row)
            case JobStatus.QUEUED:
                return self._a_worker(row) + (", which names its limits" if row.limits == [] else "")
        return None

    def _failed_before(self, row: AnyRow) -> str:
        """Name the first of the failed jobs before a job, with the command that shows its dead letter."""
        failed = self.failed.get(row.id, ())
        if not failed:
            return ""
        first = "the fan-in" if failed[0].kind in FAN_INS else f"{failed[0].kind} {failed[0].step!r}"
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        return f": {first}{more} failed; decide with: agentq dead-letters show {failed[0].id}"

    def _a_worker(self, row: AnyRow) -> str:
        need = Need(row.queue, row.kind, row.step)
        asked = self.live.ask(need)
        if asked is not None and self.live.workers and not asked.consuming:
            return f"a worker on queue {row.queue!r}, which no live worker consumes"
        if row.error_class in LEFT:
            return self._left_for(row)
        if asked is None or not self.live.workers:
            return f"a free worker on queue {row.queue!r}"
        if not asked.fitting:
            return f"a worker that knows it: {asked.says_no_worker_knows(need)}"
        if asked.fitting < asked.consuming:
            known = f"{asked.fitting} of {asked.consuming} live workers there do"
            return f"a worker on queue {row.queue!r} that knows {row.kind} {row.step!r}: {known}"
        return f"a free worker on queue {row.queue!r}"

    def _left_for(self, row: AnyRow) -> str:
        takes = parameters_at_start(self.terms.get(row.workflow_id), row.step)
        asked = self.live.ask(Need(row.queue, row.kind, row.step, takes)) if takes else None
        return str(row.due_reason) if asked is None else f"{row.due_reason}; {asked.says_how_many_take()}"


def _members_awaited(fan_in: AnyRow, members: int) -> str:
    """Return the condition of a fan-in of a number of *members*."""
    phrases = [f"{fan_in.remaining} of its {members} members"]
    phrases += [f"{fan_in.missing} missing"] if fan_in.missing else []
    phrases += [f"needs {worded(fan_in.needs)}"] if fan_in.needs else []
    if fan_in.deadline_at is not None:
        phrases.append(f"until {fan_in.deadline_at:%Y-%m-%d %H:%M:%S} UTC")
    elif fan_in.deadline is not None:
        phrases.append(f"until {fan_in.deadline:g} s after the first of them")
    return "; ".join(phrases)
