"""The golden table: OpenAI, and what speaks its protocol."""

from __future__ import annotations

import json
from typing import Any

from agentq.policies import Category, OnError
from tests.policies.cases import (
    BACKS_OFF,
    CLIMBS,
    FAILS,
    GATEWAY_PAGE,
    SOON,
    Case,
    Does,
    date,
    defers,
    stops_half_way,
    unreachable,
)
from tests.policies.clients import OPENAI
from tests.policies.server import Answer

STREAMS = ("openai-stream", "openai-stream-async")
C = Category


def failed(status: int, message: str, code: str | None, kind: str | None = None, **headers: str) -> Answer:
    error = {"message": message, "type": kind or "invalid_request_error", "param": None, "code": code}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": error}, {"x-request-id": "req_1"} | named)


def limited(
    message: str = "Rate limit reached for m on requests per min (RPM): Limit 3.", **headers: str
) -> Answer:
    return failed(429, message, "rate_limit_exceeded", "requests", **headers)


def finished(reason: str, content: str = "") -> Answer:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return Answer(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})


def broken_stream(error: dict[str, Any]) -> Answer:
    return Answer(200, f"data: {json.dumps({'error': error})}\n\n")


def row(name: str, answer: Answer, category: Category, does: Does, code: str | None = None) -> Case:
    return Case(name, OPENAI, answer, category, does, code, "req_1" if "x-request-id" in answer.headers else None)


LIMIT = "rate_limit_exceeded"
TABLE = [
    row("429 with Retry-After", limited(retry_after="12"), C.RATE_LIMIT, defers(12), LIMIT),
    row(
        "429 with milliseconds", limited(retry_after="2", retry_after_ms="1500"), C.RATE_LIMIT, defers(1.5), LIMIT
    ),
    row("429 with a date", limited(retry_after=date(90), date=date(60)), C.RATE_LIMIT, defers(30), LIMIT),
    row("429 with a date only", limited(retry_after=date(45)), C.RATE_LIMIT, defers(45), LIMIT),
    row("429 with a date that is over", limited(retry_after=date(-45)), C.RATE_LIMIT, defers(0), LIMIT),
    row(
        "429 with what is left",
        limited(
            x_ratelimit_remaining_requests="10",
            x_ratelimit_reset_requests="20ms",
            x_ratelimit_remaining_tokens="0",
            x_ratelimit_reset_tokens="6m0s",
        ),
        C.RATE_LIMIT,
        defers(360),
        LIMIT,
    ),
    row("429 with a sentence", limited("Limit 3. Please try again in 1.5s."), C.RATE_LIMIT, defers(1.5), LIMIT),
    row("429 without a time", limited(), C.RATE_LIMIT, CLIMBS, LIMIT),
    row("429 with nonsense", limited(retry_after="soon"), C.RATE_LIMIT, CLIMBS, LIMIT),
    row("429 with a negative time", limited(retry_after="-5"), C.RATE_LIMIT, CLIMBS, LIMIT),
    row("429 with no end", limited(retry_after="inf"), C.RATE_LIMIT, CLIMBS, LIMIT),
    row("429 until tomorrow", limited(retry_after="86400"), C.RATE_LIMIT, FAILS, LIMIT),
    row("429 without a body", Answer(429), C.RATE_LIMIT, CLIMBS),
    row(
        "429 out of credits",
        failed(
            429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota", retry_after="5"
        ),
        C.QUOTA_EXHAUSTED,
        FAILS,
        "insufficient_quota",
    ),
    row(
        "429 at the project's limit",
        failed(429, "Spend limit.", "project_spend_limit_exceeded", retry_after="5"),
        C.QUOTA_EXHAUSTED,
        FAILS,
        "project_spend_limit_exceeded",
    ),
    row(
        "400 at the hard limit",
        failed(400, "Billing hard limit has been reached", "billing_hard_limit_reached"),
        C.QUOTA_EXHAUSTED,
        FAILS,
        "billing_hard_limit_reached",
    ),
    row(
        "429 for one request that is too large",
        limited("Request too large for m on tokens per min (TPM): Limit 30000, Requested 40000."),
        C.CONTEXT_LENGTH,
        FAILS,
        LIMIT,
    ),
    row(
        "402",
        failed(402, "Insufficient Balance", None, "unknown_error"),
        C.QUOTA_EXHAUSTED,
        FAILS,
        "unknown_error",
    ),
    row(
        "400 too long",
        failed(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        C.CONTEXT_LENGTH,
        FAILS,
        "context_length_exceeded",
    ),
    row(
        "400 too long, without a code",
        failed(400, "This model's maximum context length is 8192 tokens.", None),
        C.CONTEXT_LENGTH,
        FAILS,
        "invalid_request_error",
    ),
    row(
        "400 filtered",
        failed(400, "The response was filtered.", "content_filter"),
        C.CONTENT_POLICY,
        FAILS,
        "content_filter",
    ),
    row(
        "400 refused by the safety system",
        failed(400, "Rejected by our safety system.", "content_policy_violation", "image_generation_user_error"),
        C.CONTENT_POLICY,
        FAILS,
        "content_policy_violation",
    ),
    row(
        "400 with a wrong value",
        failed(400, "Invalid value: 'x'.", "invalid_value"),
        C.INVALID_REQUEST,
        FAILS,
        "invalid_value",
    ),
    row("401", failed(401, "Incorrect API key.", "invalid_api_key"), C.AUTHENTICATION, FAILS, "invalid_api_key"),
    row(
        "403",
        failed(403, "Country not supported", "unsupported_country_region_territory", "request_forbidden"),
        C.PERMISSION,
        FAILS,
        "unsupported_country_region_territory",
    ),
    row("404", failed(404, "No such model.", "model_not_found"), C.INVALID_REQUEST, FAILS, "model_not_found"),
    row("408", failed(408, "Too slow.", None, "timeout"), C.TIMEOUT, BACKS_OFF, "timeout"),
    row("409", failed(409, "Locked.", None, "conflict"), C.INVALID_REQUEST, FAILS, "conflict"),
    row("413", failed(413, "Too large.", None), C.INVALID_REQUEST, FAILS, "invalid_request_error"),
    row("422", failed(422, "Cannot be processed.", None), C.INVALID_REQUEST, FAILS, "invalid_request_error"),
    row(
        "500", failed(500, "The server had an error.", None, "server_error"), C.SERVER_ERROR, SOON, "server_error"
    ),
    row(
        "500 with Retry-After",
        failed(500, "The server had an error.", None, "server_error", retry_after="7"),
        C.SERVER_ERROR,
        defers(7, OnError.RETRY),
        "server_error",
    ),
    row("502 of a gateway", Answer(502, GATEWAY_PAGE), C.SERVER_ERROR, SOON),
    row(
        "503",
        failed(503, "Overloaded.", "server_is_overloaded", "service_unavailable_error"),
        C.OVERLOADED,
        CLIMBS,
        "server_is_overloaded",
    ),
    row(
        "503 with Retry-After",
        failed(503, "Slow.", "slow_down", retry_after="20"),
        C.OVERLOADED,
        defers(20),
        "slow_down",
    ),
    row("503 of a gateway", Answer(503, GATEWAY_PAGE), C.OVERLOADED, CLIMBS),
    row("504 of a gateway", Answer(504, GATEWAY_PAGE), C.TIMEOUT, BACKS_OFF),
    Case(
        "breaks in a stream",
        STREAMS,
        broken_stream({"message": "An error occurred.", "type": "server_error", "code": None}),
        C.SERVER_ERROR,
        SOON,
        "server_error",
    ),
    Case(
        "is limited in a stream",
        STREAMS,
        broken_stream({"message": "Try again in 3s.", "type": "tokens", "code": LIMIT}),
        C.RATE_LIMIT,
        defers(3),
        LIMIT,
    ),
    Case("ends at the length limit", ("openai-parse",), finished("length"), C.CONTEXT_LENGTH, FAILS),
    Case("ends at the content filter", ("openai-parse",), finished("content_filter"), C.CONTENT_POLICY, FAILS),
    Case("answers nonsense", ("openai-parse",), finished("stop", '{"txt": 1}'), C.INVALID_INPUT, FAILS),
    *unreachable(OPENAI),
    stops_half_way(OPENAI),
]
