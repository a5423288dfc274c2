"""The golden table: Google's Gemini API."""

from __future__ import annotations

from typing import Any

from agentq.policies import Category
from tests.policies.cases import (
    BACKS_OFF,
    CLIMBS,
    FAILS,
    GATEWAY_PAGE,
    SOON,
    Case,
    Does,
    defers,
    stops_half_way,
    unreachable,
)
from tests.policies.clients import GOOGLE
from tests.policies.server import Answer

C = Category
RPC = "type.googleapis.com/google.rpc"
QUOTA = "You exceeded your current quota, please check your plan and billing details."


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": f"{RPC}.RetryInfo", "retryDelay": delay}


def quota_failure(per: str) -> dict[str, Any]:
    violation = {"quotaId": f"GenerateRequests{per}PerProjectPerModel-FreeTier", "quotaValue": "15"}
    return {"@type": f"{RPC}.QuotaFailure", "violations": [violation]}


def reason(word: str) -> dict[str, Any]:
    return {"@type": f"{RPC}.ErrorInfo", "reason": word, "domain": "googleapis.com"}


def row(
    *of: Any, name: str = "", message: str = "No.", details: list[dict[str, Any]] | None = None, **more: Any
) -> Case:
    status, word, category, does = of
    body = {"error": {"code": status, "message": message, "status": word, "details": details or []}}
    answer = Answer(status, body, more.get("headers", {}))
    return Case(f"{status} {name or word}", GOOGLE, answer, category, does, more.get("code", word))


EXHAUSTED = "RESOURCE_EXHAUSTED"
LIMITED: tuple[int, str, Category] = (429, EXHAUSTED, C.RATE_LIMIT)


def limited(does: Does, name: str, *details: dict[str, Any], **headers: str) -> Case:
    return row(*LIMITED, does, name=name, message=QUOTA, details=list(details), code=EXHAUSTED, headers=headers)


MINUTE = quota_failure("PerMinute")
DAY = quota_failure("PerDay")
TABLE = [
    limited(defers(12), "with RetryInfo", retry_info("12s")),
    limited(defers(26.5), "with RetryInfo of a fraction", retry_info("26.5s")),
    limited(defers(70), "with RetryInfo of minutes", retry_info("1m10s")),
    limited(CLIMBS, "without RetryInfo"),
    limited(CLIMBS, "with an empty RetryInfo", retry_info("")),
    limited(defers(4), "with Retry-After", **{"Retry-After": "4"}),
    limited(defers(12), "of a minute", MINUTE, retry_info("12s")),
    row(
        *(429, EXHAUSTED, C.QUOTA_EXHAUSTED, FAILS),
        name="of a day",
        message=QUOTA,
        details=[DAY, retry_info("12s")],
        code="GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    ),
    row(
        *(400, "FAILED_PRECONDITION", C.QUOTA_EXHAUSTED, FAILS),
        name="without billing",
        message="The free tier is not available in your country. Please enable billing on your project.",
    ),
    row(400, "FAILED_PRECONDITION", C.INVALID_REQUEST, FAILS, message="User location is not supported."),
    row(
        *(400, "INVALID_ARGUMENT", C.AUTHENTICATION, FAILS),
        name="with a wrong key",
        message="API key not valid. Please pass a valid API key.",
        details=[reason("API_KEY_INVALID")],
        code="API_KEY_INVALID",
    ),
    row(
        *(400, "INVALID_ARGUMENT", C.CONTEXT_LENGTH, FAILS),
        name="too long",
        message="The input token count (2000000) exceeds the maximum number of tokens allowed (1000000).",
    ),
    row(400, "INVALID_ARGUMENT", C.INVALID_REQUEST, FAILS, message="Unsupported MIME type."),
    row(401, "UNAUTHENTICATED", C.AUTHENTICATION, FAILS),
    row(403, "PERMISSION_DENIED", C.PERMISSION, FAILS),
    row(
        403,
        "PERMISSION_DENIED",
        C.PERMISSION,
        FAILS,
        name="disabled",
        details=[reason("SERVICE_DISABLED")],
        code="SERVICE_DISABLED",
    ),
    row(404, "NOT_FOUND", C.INVALID_REQUEST, FAILS),
    row(409, "ABORTED", C.SERVER_ERROR, SOON),
    row(500, "INTERNAL", C.SERVER_ERROR, SOON),
    row(503, "UNAVAILABLE", C.OVERLOADED, CLIMBS, message="The model is overloaded. Please try again later."),
    row(503, "UNAVAILABLE", C.OVERLOADED, defers(8), name="with RetryInfo", details=[retry_info("8s")]),
    row(504, "DEADLINE_EXCEEDED", C.TIMEOUT, BACKS_OFF),
    Case("502 of a gateway", GOOGLE, Answer(502, GATEWAY_PAGE), C.SERVER_ERROR, SOON),
    *unreachable(("google",)),  # its asynchronous side pauses for seconds and asks again, in spite of its options
    stops_half_way(GOOGLE),
]
