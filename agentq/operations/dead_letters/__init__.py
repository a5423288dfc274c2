"""Dead letters: list, count, get, record; replay, edit, resolve, assign, cancel; one or many."""

from agentq.operations.dead_letters.decisions import ABSENT, assign, cancel, edit, resolve
from agentq.operations.dead_letters.many import cancel_all, edit_all, resolve_all
from agentq.operations.dead_letters.queries import (
    CountBy,
    DeadLetterFilter,
    count,
    count_by,
    get,
    list_,
    read,
    record,
)
from agentq.operations.dead_letters.replays import replay, replay_all

__all__ = [
    "ABSENT",
    "CountBy",
    "DeadLetterFilter",
    "assign",
    "cancel",
    "cancel_all",
    "count",
    "count_by",
    "edit",
    "edit_all",
    "get",
    "list_",
    "read",
    "record",
    "replay",
    "replay_all",
    "resolve",
    "resolve_all",
]
