"""The golden table: Amazon Bedrock through botocore."""

from __future__ import annotations

from agentq.policies import Category
from tests.policies.cases import BACKS_OFF, CLIMBS, FAILS, GATEWAY_PAGE, SOON, Case, Does, defers, unreachable
from tests.policies.clients import BEDROCK
from tests.policies.server import Answer

C = Category


def row(status: int, code: str, category: Category, does: Does, message: str = "No.", **headers: str) -> Case:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/", "x-amzn-RequestId": "req-3"} | named
    name = f"{status} {code} {' '.join(named)}{'' if message == 'No.' else message[:20]}".strip()
    return Case(name, BEDROCK, Answer(status, {"message": message}, sent), category, does, code, "req-3")


TABLE = [
    row(429, "ThrottlingException", C.RATE_LIMIT, CLIMBS, "Too many tokens, please wait before trying again."),
    row(429, "ThrottlingException", C.RATE_LIMIT, defers(12), Retry_After="12"),
    row(429, "ThrottlingException", C.RATE_LIMIT, defers(4), x_amz_retry_after="4000"),
    row(429, "ModelNotReadyException", C.OVERLOADED, CLIMBS),
    row(400, "ServiceQuotaExceededException", C.QUOTA_EXHAUSTED, FAILS),
    row(408, "ModelTimeoutException", C.TIMEOUT, BACKS_OFF),
    row(424, "ModelErrorException", C.SERVER_ERROR, SOON),
    row(424, "ModelStreamErrorException", C.SERVER_ERROR, SOON),
    row(500, "InternalServerException", C.SERVER_ERROR, SOON),
    row(503, "ServiceUnavailableException", C.OVERLOADED, CLIMBS),
    row(403, "AccessDeniedException", C.PERMISSION, FAILS),
    row(403, "UnrecognizedClientException", C.AUTHENTICATION, FAILS),
    row(403, "ExpiredTokenException", C.AUTHENTICATION, FAILS),
    row(403, "InvalidSignatureException", C.AUTHENTICATION, FAILS),
    row(404, "ResourceNotFoundException", C.INVALID_REQUEST, FAILS),
    row(400, "ConflictException", C.INVALID_REQUEST, FAILS),
    row(400, "ValidationException", C.INVALID_REQUEST, FAILS, "The provided model identifier is invalid."),
    row(400, "ValidationException", C.CONTEXT_LENGTH, FAILS, "Input is too long for requested model."),
    row(400, "ValidationException", C.CONTEXT_LENGTH, FAILS, "prompt is too long: 210000 tokens"),
    Case("502 of a gateway", BEDROCK, Answer(502, GATEWAY_PAGE), C.SERVER_ERROR, SOON),
    *unreachable(BEDROCK),
]
