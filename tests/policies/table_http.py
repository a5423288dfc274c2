"""The golden table: plain HTTP, as tools and the SDKs of other providers do it."""

from __future__ import annotations

from agentq.policies import Category, OnError
from tests.policies.cases import (
    BACKS_OFF,
    CLIMBS,
    FAILS,
    SOON,
    Case,
    Does,
    date,
    defers,
    stops_half_way,
    unreachable,
)
from tests.policies.clients import HTTP
from tests.policies.server import Answer

C = Category


def row(status: int, category: Category, does: Does, name: str = "", body: str = "", **headers: str) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Answer(status, {"error": {"message": body}}, named)
    return Case(f"{status} {name}".strip(), HTTP, answer, category, does)


TABLE = [
    row(400, C.INVALID_REQUEST, FAILS),
    row(401, C.AUTHENTICATION, FAILS),
    row(402, C.QUOTA_EXHAUSTED, FAILS),
    row(403, C.PERMISSION, FAILS),
    row(404, C.INVALID_REQUEST, FAILS),
    row(408, C.TIMEOUT, BACKS_OFF),
    row(410, C.INVALID_REQUEST, FAILS),
    row(429, C.RATE_LIMIT, CLIMBS),
    row(429, C.RATE_LIMIT, defers(12), "with Retry-After", Retry_After="12"),
    row(429, C.RATE_LIMIT, defers(60), "with a date", Retry_After=date(70), Date=date(10)),
    row(429, C.RATE_LIMIT, defers(33), "with the seconds of a reset", RateLimit_Reset="33"),
    row(429, C.RATE_LIMIT, defers(33), "with the time of a reset", X_RateLimit_Reset="1795000033"),
    row(500, C.SERVER_ERROR, SOON),
    row(500, C.SERVER_ERROR, defers(7, OnError.RETRY), "with Retry-After", Retry_After="7"),
    row(502, C.SERVER_ERROR, SOON),
    row(503, C.OVERLOADED, CLIMBS),
    row(503, C.OVERLOADED, defers(5), "with Retry-After", Retry_After="5"),
    row(504, C.TIMEOUT, BACKS_OFF),
    row(529, C.OVERLOADED, CLIMBS),
    *unreachable(HTTP),
    stops_half_way(HTTP),
]
