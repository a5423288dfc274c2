"""Classes of packages that the tests do not install, by name; and what no answer of a provider brings about."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
from email.message import Message
from typing import Any

import anthropic
import httpx
import openai
import pydantic
import pytest
import urllib3.exceptions
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from botocore.exceptions import EventStreamError
from google import genai

from agentq.exceptions import InvalidArguments, InvalidResult, LedgerUnavailable, StepDefinitionError
from agentq.policies import Category, describe
from tests.policies.clients import CLIENTS, ask_bedrock, bedrock_session, raised_by
from tests.policies.server import Answer, Provider, url_where_nobody_listens

C = Category


def lookalike(name: str, *bases: type, **attributes: Any) -> BaseException:
    """Return an exception of a class with this qualified name."""
    module, _, bare = name.rpartition(".")
    kind = type(bare, bases or (Exception,), {"__module__": module, "__qualname__": bare, **attributes})
    made: BaseException = kind("no")
    return made


def answer(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, request=httpx.Request("POST", "http://provider"))


LITELLM = "litellm.exceptions"
OpenAIError = type("OpenAIError", (Exception,), {"__module__": "openai"})
LITELLM_CASES: list[tuple[str, dict[str, Any], Category]] = [
    ("RateLimitError", {"status_code": 429, "code": "429", "type": "throttling_error"}, C.RATE_LIMIT),
    ("RateLimitError", {"status_code": 429, "rate_limit_type": "budget"}, C.QUOTA_EXHAUSTED),
    ("BudgetExceededError", {"status_code": 422}, C.QUOTA_EXHAUSTED),
    ("PaymentRequiredError", {"status_code": 402}, C.QUOTA_EXHAUSTED),
    ("ContextWindowExceededError", {"status_code": 400}, C.CONTEXT_LENGTH),
    ("ContentPolicyViolationError", {"status_code": 400}, C.CONTENT_POLICY),
    ("GuardrailRaisedException", {"status_code": 400}, C.CONTENT_POLICY),
    ("Timeout", {"status_code": 408}, C.TIMEOUT),
    ("APIConnectionError", {"status_code": 500}, C.CONNECTION),
    ("ServiceUnavailableError", {"status_code": 503}, C.OVERLOADED),
    ("BadGatewayError", {"status_code": 502}, C.SERVER_ERROR),
    ("InternalServerError", {"status_code": 500}, C.SERVER_ERROR),
    ("AuthenticationError", {"status_code": 401}, C.AUTHENTICATION),
    ("PermissionDeniedError", {"status_code": 403}, C.PERMISSION),
    ("UnsupportedParamsError", {"status_code": 400}, C.INVALID_REQUEST),
    ("JSONSchemaValidationError", {"status_code": 500}, C.SERVER_ERROR),
]


@pytest.mark.parametrize(("name", "attributes", "category"), LITELLM_CASES)
def test_litellm_is_known_by_its_names(name: str, attributes: dict[str, Any], category: Category) -> None:
    facts = describe(lookalike(f"{LITELLM}.{name}", OpenAIError, llm_provider="deepseek", **attributes))
    assert (facts.category, facts.provider) == (category, "deepseek")
    assert facts.status == attributes["status_code"]


def test_litellm_keeps_the_answer_of_the_provider() -> None:
    error = lookalike(f"{LITELLM}.RateLimitError", response=answer(429, **{"retry-after": "17"}), status_code=429)
    assert describe(error).retry_after == 17


PYDANTIC_AI = "pydantic_ai.exceptions"
PYDANTIC_AI_CASES = {
    "ModelRateLimitError": C.RATE_LIMIT,
    "ModelQuotaExceededError": C.QUOTA_EXHAUSTED,
    "ModelUnavailableError": C.OVERLOADED,
    "ModelOverloadedError": C.OVERLOADED,
    "ModelServerError": C.SERVER_ERROR,
    "ModelConnectionError": C.CONNECTION,
    "ModelTimeoutError": C.TIMEOUT,
    "ModelRequestTimeout": C.TIMEOUT,
    "ModelRequestRejectedError": C.INVALID_REQUEST,
    "ModelContextWindowExceededError": C.CONTEXT_LENGTH,
    "ModelAuthenticationError": C.AUTHENTICATION,
    "ModelNotFoundError": C.INVALID_REQUEST,
    "ContentFilterError": C.CONTENT_POLICY,
    "UnexpectedModelBehavior": C.INVALID_RESPONSE,
    "UsageLimitExceeded": C.QUOTA_EXHAUSTED,
    "ConcurrencyLimitExceeded": C.RATE_LIMIT,
    "OutputTokenLimitExceeded": C.CONTEXT_LENGTH,
    "UserError": C.INVALID_REQUEST,
    "ModelAPIError": C.ERROR,
}


@pytest.mark.parametrize("name", PYDANTIC_AI_CASES)
def test_pydantic_ai_is_known_by_its_names(name: str) -> None:
    facts = describe(lookalike(f"{PYDANTIC_AI}.{name}", RuntimeError))
    assert (facts.category, facts.provider) == (PYDANTIC_AI_CASES[name], "pydantic-ai")


def test_pydantic_ai_passes_the_providers_answer() -> None:
    reported = {"retry_after": 21.0, "provider_error_code": "rate_limit_exceeded", "headers": None}
    facts = describe(lookalike(f"{PYDANTIC_AI}.ModelHTTPError", RuntimeError, status_code=429, **reported))
    assert (facts.category, facts.retry_after) == (C.RATE_LIMIT, 21)
    assert (facts.status, facts.code) == (429, "rate_limit_exceeded")
    body = {"error": {"message": "no", "code": "insufficient_quota"}}
    facts = describe(lookalike(f"{PYDANTIC_AI}.ModelHTTPError", RuntimeError, status_code=429, body=body))
    assert facts.category is C.QUOTA_EXHAUSTED


LANGCHAIN_CASES = {
    "ModelAuthenticationError": C.AUTHENTICATION,
    "ModelPermissionDeniedError": C.PERMISSION,
    "ModelInvalidRequestError": C.INVALID_REQUEST,
    "ModelNotFoundError": C.INVALID_REQUEST,
    "ModelRateLimitError": C.RATE_LIMIT,
    "ModelAPIError": C.SERVER_ERROR,
    "ModelConnectionError": C.CONNECTION,
    "ModelTimeoutError": C.TIMEOUT,
    "ContextOverflowError": C.CONTEXT_LENGTH,
    "ModelRefusalError": C.CONTENT_POLICY,
    "OutputParserException": C.INVALID_RESPONSE,
}


@pytest.mark.parametrize("name", LANGCHAIN_CASES)
def test_langchain_is_known_by_its_names(name: str) -> None:
    facts = describe(lookalike(f"langchain_core.exceptions.{name}", ValueError))
    assert (facts.category, facts.provider) == (LANGCHAIN_CASES[name], "langchain")


def test_langchain_s_classes_for_a_provider_are_the_provider_s_too() -> None:
    ours = type(lookalike("langchain_core.exceptions.ModelAPIError"))
    kind: Any = type(
        "AnthropicAPIError", (anthropic.OverloadedError, ours), {"__module__": "langchain_anthropic.x"}
    )
    facts = describe(kind("Overloaded", response=answer(529, **{"retry-after": "6"}), body=None))
    assert (facts.category, facts.provider, facts.retry_after) == (C.OVERLOADED, "anthropic", 6)


def http_error(status: int) -> urllib.error.HTTPError:
    headers = Message()
    headers["Retry-After"] = "3"
    return urllib.error.HTTPError("http://provider", status, "no", headers, None)


OTHERS: list[tuple[BaseException, Category]] = [
    (TimeoutError(), C.TIMEOUT),
    (socket.gaierror(-2, "unknown name"), C.CONNECTION),
    (ssl.SSLCertVerificationError("expired"), C.CONNECTION),
    (ConnectionResetError(), C.CONNECTION),
    (BrokenPipeError(), C.CONNECTION),
    (http.client.RemoteDisconnected("gone"), C.CONNECTION),
    (http.client.BadStatusLine("x"), C.CONNECTION),
    (urllib3.exceptions.ReadTimeoutError(None, "/", "slow"), C.TIMEOUT),  # type: ignore[arg-type]
    (urllib3.exceptions.ProtocolError("gone"), C.CONNECTION),
    (urllib3.exceptions.NameResolutionError("h", None, socket.gaierror()), C.CONNECTION),  # type: ignore[arg-type]
    (http_error(503), C.OVERLOADED),
    (http_error(404), C.INVALID_REQUEST),
    (EventStreamError({"Error": {"Code": "throttlingException"}}, "ConverseStream"), C.RATE_LIMIT),
    (EventStreamError({"Error": {"Code": "modelStreamErrorException"}}, "ConverseStream"), C.SERVER_ERROR),
    (lookalike("google.auth.exceptions.DefaultCredentialsError"), C.AUTHENTICATION),
    (lookalike("google.auth.exceptions.TransportError"), C.CONNECTION),
    (lookalike("redis.exceptions.TimeoutError"), C.TIMEOUT),
    (lookalike("groq.RateLimitError", status_code=429), C.RATE_LIMIT),
    (lookalike("mistralai.models.SDKError", status_code=502, body="<html>"), C.SERVER_ERROR),
    (lookalike("cohere.errors.TooManyRequestsError"), C.RATE_LIMIT),
    (ValueError("no"), C.INVALID_INPUT),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), C.INVALID_INPUT),
    (TypeError("no"), C.INVALID_INPUT),
    (KeyError("no"), C.ERROR),
    (RuntimeError("no"), C.ERROR),
    (MemoryError(), C.ERROR),
    (FileNotFoundError(2, "no"), C.ERROR),
    (PermissionError(13, "no"), C.PERMISSION),
    (SystemExit(429), C.ERROR),
    (SoftTimeLimitExceeded(), C.TIMED_OUT),
    (TimeLimitExceeded(30), C.TIMED_OUT),
    (WorkerLostError("no"), C.WORKER_LOST),
    (StepDefinitionError("no"), C.DEFINITION),
    (InvalidArguments("no"), C.INVALID_ARGUMENTS),
    (InvalidResult("no"), C.INVALID_RESULT),
    (LedgerUnavailable("no"), C.CONNECTION),
]


@pytest.mark.parametrize(
    ("error", "category"), OTHERS, ids=[f"{n} {type(e).__name__}" for n, (e, _) in enumerate(OTHERS)]
)
def test_other_errors_are_known(error: BaseException, category: Category) -> None:
    assert describe(error).category is category


def test_a_validation_error_of_a_model_is_invalid_input() -> None:
    with pytest.raises(pydantic.ValidationError) as refused:
        pydantic.TypeAdapter(int).validate_python("x")
    assert describe(refused.value).category is C.INVALID_INPUT


@pytest.mark.parametrize("client", sorted(CLIENTS.keys() - {"google-async"}))
def test_a_refused_connection_is_one(client: str) -> None:
    assert describe(raised_by(CLIENTS[client], url_where_nobody_listens())).category is C.CONNECTION


@pytest.mark.parametrize(
    "client", ["openai", "anthropic", "google", "bedrock", "httpx", "httpx2", "requests", "aiohttp"]
)
def test_an_answer_without_tls_is_a_connection_error(client: str, failing: Provider) -> None:
    error = raised_by(CLIENTS[client], failing.url.replace("http:", "https:"))
    assert describe(error).category is C.CONNECTION


@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/"])
def test_a_url_that_cannot_be_asked_is_an_invalid_request(client: str, url: str) -> None:
    assert describe(raised_by(CLIENTS[client], url)).category is C.INVALID_REQUEST


@pytest.mark.parametrize("client", ["httpx", "httpx2", "requests", "aiohttp"])
def test_going_round_in_circles_is_an_invalid_request(client: str, failing: Provider) -> None:
    failing.answer = Answer(302, "", {"Location": failing.url})
    assert describe(raised_by(CLIENTS[client], failing.url)).category is C.INVALID_REQUEST


def test_no_key_at_all_is_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(openai.OpenAIError) as of_openai:
        openai.OpenAI()
    with pytest.raises(ValueError) as of_google:
        genai.Client()
    assert describe(of_openai.value).category is C.AUTHENTICATION
    assert describe(of_google.value).category is C.AUTHENTICATION


def test_bedrock_without_credentials_is_authentication(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    bedrock_session.cache_clear()

    def ask(url: str, timeout: float) -> object:
        return ask_bedrock(url, timeout, aws_access_key_id=None)

    facts = describe(raised_by(ask, url_where_nobody_listens()))
    assert (facts.category, facts.provider) == (C.AUTHENTICATION, "aws")
