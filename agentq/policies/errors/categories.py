"""The categories of errors: one word for each answer that a failed attempt may want."""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """The kind of a failure.

    ``TIMEOUT`` is something outside that did not answer in time; ``TIMED_OUT`` is the step itself, over its own
    time limit. ``NOT_RECORDED`` is an attempt whose outcome agentq could not write. ``INVALID_RESPONSE`` is an
    answer that cannot be used: a model asked again may do better. ``ERROR`` is everything that nothing more is
    known about.
    """

    RATE_LIMIT = "rate_limit"
    QUOTA_EXHAUSTED = "quota_exhausted"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    AUTHENTICATION = "authentication"
    PERMISSION = "permission"
    INVALID_REQUEST = "invalid_request"
    CONTENT_POLICY = "content_policy"
    CONTEXT_LENGTH = "context_length"
    INVALID_RESPONSE = "invalid_response"
    INVALID_INPUT = "invalid_input"
    WORKER_LOST = "worker_lost"
    TIMED_OUT = "timed_out"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    DEFINITION = "definition"
    INVALID_ARGUMENTS = "invalid_arguments"
    INVALID_RESULT = "invalid_result"
    NOT_RECORDED = "not_recorded"
    CANCELLED = "cancelled"
    ERROR = "error"


NEVER_RETRIED = frozenset(
    {
        Category.QUOTA_EXHAUSTED,
        Category.AUTHENTICATION,
        Category.PERMISSION,
        Category.INVALID_REQUEST,
        Category.CONTENT_POLICY,
        Category.CONTEXT_LENGTH,
        Category.INVALID_INPUT,
        Category.DEADLINE_EXCEEDED,
        Category.DEFINITION,
        Category.INVALID_ARGUMENTS,
        Category.INVALID_RESULT,
        Category.NOT_RECORDED,
        Category.CANCELLED,
    }
)
"""The categories that cannot come right by themselves: the same request gets the same answer."""

REFUSED_FOR_NOW = frozenset({Category.RATE_LIMIT, Category.OVERLOADED})
"""The categories of a provider that refuses all calls for a while: they close a limit."""
