"""Read models: what every surface shows. Operations mask secrets in them, so that no surface can forget."""

from agentq.operations.schemas.actions import Action, ByHand
from agentq.operations.schemas.dead_letters import (
    DeadLetter,
    DeadLetterAction,
    DeadLetterCount,
    DeadLetterSummary,
    Replays,
)
from agentq.operations.schemas.events import Event
from agentq.operations.schemas.jobs import Attempt, Job, JobSummary
from agentq.operations.schemas.limits import (
    CoolingLimit,
    Hold,
    Limit,
    LimitChange,
    LimitDetails,
    LineOfTenant,
    NumberPerTime,
    Override,
    Sources,
)
from agentq.operations.schemas.many import Decided, Refused
from agentq.operations.schemas.pruning import Pruned
from agentq.operations.schemas.queues import Queue
from agentq.operations.schemas.schedules import (
    BackfilledSchedule,
    Schedule,
    ScheduleChange,
    ScheduleDetails,
    SchedulePause,
    TriggeredSchedule,
)
from agentq.operations.schemas.tenants import Tenant, TenantChange, TenantDetails
from agentq.operations.schemas.why import Reason, Why
from agentq.operations.schemas.workers import Worker, WorkerDetails
from agentq.operations.schemas.workflows import WorkflowDetails, WorkflowSummary

__all__ = [
    "Action",
    "Attempt",
    "BackfilledSchedule",
    "ByHand",
    "CoolingLimit",
    "DeadLetter",
    "DeadLetterAction",
    "DeadLetterCount",
    "DeadLetterSummary",
    "Decided",
    "Event",
    "Hold",
    "Job",
    "JobSummary",
    "Limit",
    "LimitChange",
    "LimitDetails",
    "LineOfTenant",
    "NumberPerTime",
    "Override",
    "Pruned",
    "Queue",
    "Reason",
    "Refused",
    "Replays",
    "Schedule",
    "ScheduleChange",
    "ScheduleDetails",
    "SchedulePause",
    "Sources",
    "Tenant",
    "TenantChange",
    "TenantDetails",
    "TriggeredSchedule",
    "Why",
    "Worker",
    "WorkerDetails",
    "WorkflowDetails",
    "WorkflowSummary",
]
