"""The model of the events of a workflow."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from agentq.operations.schemas.record import Record
from agentq.states import WORKFLOW_FINAL


class Event(Record):
    """An event of a workflow, for its followers."""

    id: str
    """The reader's position after this event, to go on from. Text without spaces, of under 64 characters."""
    kind: str
    """``progress`` or a kind of a step's own; or, with a dot, agentq's: ``workflow.started``, ``job.retried``."""
    at: datetime
    job_id: uuid.UUID | None = None
    step: str | None = None
    attempt: int | None = None
    data: Any = None
    """Of ``progress`` an object with done, total and message. Texts that look like secrets are masked."""

    @property
    def is_end(self) -> bool:
        """True for the event of the workflow's end, the last one."""
        return self.kind in _ENDS


_ENDS = frozenset(f"workflow.{status}" for status in WORKFLOW_FINAL)
