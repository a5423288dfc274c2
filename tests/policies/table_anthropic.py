"""The golden table: Anthropic."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from agentq.policies import Category
from tests.policies.cases import (
    BACKS_OFF,
    CLIMBS,
    FAILS,
    GATEWAY_PAGE,
    NOW,
    SOON,
    Case,
    Does,
    defers,
    stops_half_way,
    unreachable,
)
from tests.policies.clients import ANTHROPIC
from tests.policies.server import Answer

STREAMS = ("anthropic-stream", "anthropic-stream-async")
C = Category


def error(kind: str, message: str = "No.") -> dict[str, object]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_2"}


def failed(status: int, kind: str, message: str = "No.", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, error(kind, message), {"request-id": "req_2"} | named)


def row(status: int, name: str, kind: str, message: str, category: Category, does: Does, **headers: str) -> Case:
    answer = failed(status, kind, message, **headers)
    return Case(f"{status} {name}".strip(), ANTHROPIC, answer, category, does, kind, "req_2")


def reset_at(after: float) -> str:
    return datetime.fromtimestamp(NOW + after, UTC).isoformat().replace("+00:00", "Z")


def broken_stream(kind: str) -> Answer:
    return Answer(200, f"event: error\ndata: {json.dumps(error(kind))}\n\n", {"request-id": "req_2"})


INVALID = "invalid_request_error"
TABLE = [
    row(429, "with Retry-After", "rate_limit_error", "", C.RATE_LIMIT, defers(9), retry_after="9"),
    row(429, "without a time", "rate_limit_error", "", C.RATE_LIMIT, CLIMBS),
    row(
        *(429, "with what is left", "rate_limit_error", "", C.RATE_LIMIT, defers(40)),
        anthropic_ratelimit_requests_remaining="0",
        anthropic_ratelimit_requests_reset=reset_at(40),
        anthropic_ratelimit_input_tokens_remaining="5000",
        anthropic_ratelimit_input_tokens_reset=reset_at(90),
    ),
    row(529, "", "overloaded_error", "Overloaded", C.OVERLOADED, CLIMBS),
    row(529, "with Retry-After", "overloaded_error", "Overloaded", C.OVERLOADED, defers(30), retry_after="30"),
    row(400, "out of credits", INVALID, "Your credit balance is too low.", C.QUOTA_EXHAUSTED, FAILS),
    row(402, "", "billing_error", "Pay.", C.QUOTA_EXHAUSTED, FAILS),
    row(400, "too long", INVALID, "prompt is too long: 210000 tokens > 200000 maximum", C.CONTEXT_LENGTH, FAILS),
    row(400, "filtered", INVALID, "Output blocked by content filtering policy", C.CONTENT_POLICY, FAILS),
    row(400, "", INVALID, "max_tokens: must be at least 1", C.INVALID_REQUEST, FAILS),
    row(401, "", "authentication_error", "invalid x-api-key", C.AUTHENTICATION, FAILS),
    row(403, "", "permission_error", "Not yours.", C.PERMISSION, FAILS),
    row(404, "", "not_found_error", "model: m", C.INVALID_REQUEST, FAILS),
    row(408, "", "timeout_error", "Too slow.", C.TIMEOUT, BACKS_OFF),
    row(413, "", "request_too_large", "Request exceeds the maximum size", C.INVALID_REQUEST, FAILS),
    row(500, "", "api_error", "Internal server error", C.SERVER_ERROR, SOON),
    row(504, "", "timeout_error", "Took too long.", C.TIMEOUT, BACKS_OFF),
    Case("502 of a gateway", ANTHROPIC, Answer(502, GATEWAY_PAGE), C.SERVER_ERROR, SOON),
    Case("503 of a gateway", ANTHROPIC, Answer(503, GATEWAY_PAGE), C.OVERLOADED, CLIMBS),
    Case(
        *("overloaded in a stream", STREAMS, broken_stream("overloaded_error"), C.OVERLOADED, CLIMBS),
        *("overloaded_error", "req_2"),
    ),
    Case("breaks in a stream", STREAMS, broken_stream("api_error"), C.SERVER_ERROR, SOON, "api_error", "req_2"),
    *unreachable(ANTHROPIC),
    stops_half_way(ANTHROPIC),
]
