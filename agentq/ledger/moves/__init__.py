"""The one place where a status changes. Every move is one guarded UPDATE; no row means the move was lost.

The guard of a worker's write is ``status = 'running' AND attempt = :attempt``: attempts only ever increase, so a
worker that lost its job to another attempt, to a rescue or to a cancel cannot write.
"""

from agentq.ledger.moves.attempt import cancel_own, fail, leave, release, retry, succeed
from agentq.ledger.moves.claims import claim, new_claim_token
from agentq.ledger.moves.dead_letter import (
    close_letter,
    close_message_letter,
    open_letter,
    open_message_letter,
    revive,
    supply,
)
from agentq.ledger.moves.event import forget_before, record_event
from agentq.ledger.moves.fan_in import (
    LACKS_MEMBERS,
    cancel_members,
    close_fan_in,
    go_on_short,
    lock_late,
    lock_member,
    mark_missing,
    revive_members,
    unmark_missing,
)
from agentq.ledger.moves.handover import (
    count_down,
    count_on,
    fail_virtual,
    finish_virtual,
    ready,
    ready_successors,
)
from agentq.ledger.moves.shared import DEAD, DISPATCH
from agentq.ledger.moves.succeed_fast import succeed_fast
from agentq.ledger.moves.timed import (
    DUE,
    LOST,
    LOST_WORKERS,
    OVERDUE,
    UNCLAIMED,
    Overtaken,
    by_workflow,
    expire_running,
    fail_overdue,
    lock_overdue,
    move_job,
    overdue_fan_ins,
    pass_on,
    queue_due,
    redispatch,
    redispatch_unclaimed,
    schedule_dispatches,
    schedule_now,
)
from agentq.ledger.moves.workflow import cancel_job, cancel_jobs, end_workflow, fail_workflow, reopen_workflow

__all__ = [
    "DISPATCH",
    "DEAD",
    "DUE",
    "LACKS_MEMBERS",
    "LOST",
    "LOST_WORKERS",
    "OVERDUE",
    "UNCLAIMED",
    "Overtaken",
    "by_workflow",
    "cancel_job",
    "cancel_jobs",
    "cancel_members",
    "claim",
    "close_fan_in",
    "close_letter",
    "close_message_letter",
    "count_down",
    "count_on",
    "end_workflow",
    "expire_running",
    "fail",
    "fail_overdue",
    "fail_virtual",
    "fail_workflow",
    "finish_virtual",
    "forget_before",
    "cancel_own",
    "go_on_short",
    "leave",
    "lock_late",
    "lock_overdue",
    "lock_member",
    "mark_missing",
    "move_job",
    "new_claim_token",
    "open_letter",
    "open_message_letter",
    "overdue_fan_ins",
    "pass_on",
    "queue_due",
    "ready",
    "ready_successors",
    "release",
    "reopen_workflow",
    "retry",
    "revive",
    "revive_members",
    "redispatch",
    "redispatch_unclaimed",
    "schedule_dispatches",
    "schedule_now",
    "succeed",
    "succeed_fast",
    "supply",
    "record_event",
    "unmark_missing",
]
