"""Dead letters: list, count, get, record; replay, edit, resolve, assign, cancel."""

from agentq.operations.dead_letter_decisions import ABSENT, assign, cancel, edit, resolve
from agentq.operations.dead_letter_reading import (
    CountBy,
    DeadLetterFilter,
    count,
    count_by,
    get,
    list_,
    read,
    record,
)
from agentq.operations.dead_letter_replays import replay, replay_all

__all__ = [
    "ABSENT",
    "CountBy",
    "DeadLetterFilter",
    "assign",
    "cancel",
    "count",
    "count_by",
    "edit",
    "get",
    "list_",
    "read",
    "record",
    "replay",
    "replay_all",
    "resolve",
]
