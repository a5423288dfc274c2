"""Every table, constraint and index of the ledger."""

from agentq.ledger.models.base import Base
from agentq.ledger.models.dead_letters import ActionRow, DeadLetterRow, EventRow
from agentq.ledger.models.limits import HoldRow, LimitChangeRow, LimitRow, TenantChangeRow, TenantRow, TurnRow
from agentq.ledger.models.schedules import ScheduleChangeRow, ScheduleRow
from agentq.ledger.models.workers import WorkerRow
from agentq.ledger.models.workflows import AttemptRow, JobRow, WorkflowRow

__all__ = [
    "ActionRow",
    "AttemptRow",
    "Base",
    "DeadLetterRow",
    "EventRow",
    "HoldRow",
    "JobRow",
    "LimitChangeRow",
    "LimitRow",
    "ScheduleChangeRow",
    "ScheduleRow",
    "TenantChangeRow",
    "TenantRow",
    "TurnRow",
    "WorkerRow",
    "WorkflowRow",
]
