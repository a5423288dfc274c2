"""Words of the field, as tables: what a code, a phrase, a class name or a status means.

Consulted in this order: phrases (a status says which may be used), precise codes, precise class names,
general codes, status, general class names. All codes and phrases are in lower case.
"""

from __future__ import annotations

import re
from typing import Final

from agentq.policies.errors.categories import Category as C


def _words(**of: str) -> dict[str, C]:
    return {word: C[name.upper()] for name, words in of.items() for word in words.split()}


PRECISE_CODES: Final = _words(
    quota_exhausted="""insufficient_quota billing_hard_limit_reached billing_not_active billing_error
        credit_balance_exhausted insufficient_balance exceeded_current_quota_error budget_exceeded
        servicequotaexceededexception rate_limit_type:budget""",
    rate_limit="""rate_limit_exceeded rate_limit_error rate_limit_reached_error too_many_requests
        tokens_exceeded_error throttlingexception throttling throttledexception toomanyrequestsexception
        requestlimitexceeded provisionedthroughputexceededexception resource_exhausted""",
    overloaded="""overloaded_error overloaded server_is_overloaded engine_overloaded slow_down slowdown
        service_unavailable service_unavailable_error serviceunavailableexception modelnotreadyexception
        unavailable""",
    server_error="""server_error internal_server_error internalserverexception
        internalfailure internal modelstreamerrorexception modelerrorexception bad_gateway data_loss""",
    timeout="""modeltimeoutexception deadline_exceeded timeout_error request_timeout requesttimeout
        requesttimeoutexception""",
    authentication="""invalid_api_key api_key_invalid api_key_expired incorrect_api_key authentication_error
        unauthenticated unrecognizedclientexception expiredtokenexception expiredtoken invalidclienttokenid
        invalidsignatureexception signaturedoesnotmatch incompletesignature missingauthenticationtoken
        missingauthenticationtokenexception""",
    permission="""permission_error permission_denied accessdeniedexception accessdenied service_disabled
        unsupported_country_region_territory account_deactivated optinrequired""",
    content_policy="""content_filter content_policy_violation moderation_blocked invalid_prompt
        responsibleaipolicyviolation prohibited_content refusal""",
    context_length="context_length_exceeded context_window_exceeded",
)

CODE_PATTERNS: Final = (
    (re.compile(r"(spend|usage)_limit_(exceeded|reached)"), C.QUOTA_EXHAUSTED),
    (re.compile(r"per_?day"), C.QUOTA_EXHAUSTED),  # Google's quota ids; it sends a RetryInfo even then
)

GENERAL_CODES: Final = _words(
    invalid_request="""invalid_request_error invalid_argument failed_precondition out_of_range
        validationexception not_found not_found_error model_not_found resourcenotfoundexception
        conflictexception""",
    server_error="api_error unknown aborted",
)

_CONTEXT = (
    "prompt is too long", "input is too long", "input token count", "input tokens exceed",
    "maximum context length", "context window", "exceed context limit", "number of tokens allowed",
    "reduce the length of the messages",
)  # fmt: skip

PHRASES: Final[dict[int, tuple[tuple[str, C], ...]]] = {
    400: (
        *((phrase, C.CONTEXT_LENGTH) for phrase in _CONTEXT),
        ("credit balance is too low", C.QUOTA_EXHAUSTED),
        ("enable billing", C.QUOTA_EXHAUSTED),
        ("content filtering policy", C.CONTENT_POLICY),
        ("content management policy", C.CONTENT_POLICY),
        ("api key not valid", C.AUTHENTICATION),
        ("api key expired", C.AUTHENTICATION),
        ("organization has been disabled", C.PERMISSION),
    ),
    413: tuple((phrase, C.CONTEXT_LENGTH) for phrase in _CONTEXT),
    422: tuple((phrase, C.CONTEXT_LENGTH) for phrase in _CONTEXT),
    429: (("request too large for", C.CONTEXT_LENGTH),),
    0: (
        ("missing credentials. please pass", C.AUTHENTICATION),
        ("could not resolve authentication method", C.AUTHENTICATION),
        ("no api key was provided", C.AUTHENTICATION),
    ),
}
"""By status, 0 for none: some providers distinguish these by nothing but a sentence."""

STATUSES: Final = {
    401: C.AUTHENTICATION, 402: C.QUOTA_EXHAUSTED, 403: C.PERMISSION, 407: C.AUTHENTICATION, 408: C.TIMEOUT,
    424: C.SERVER_ERROR, 425: C.SERVER_ERROR, 429: C.RATE_LIMIT, 499: C.CONNECTION, 503: C.OVERLOADED,
    504: C.TIMEOUT, 522: C.TIMEOUT, 524: C.TIMEOUT, 529: C.OVERLOADED,
}  # fmt: skip


def of_status(status: int) -> C | None:
    """Return what an HTTP status means on its own."""
    if status in STATUSES or status < 400:
        return STATUSES.get(status)
    return C.INVALID_REQUEST if status < 500 else C.SERVER_ERROR


PRECISE_NAMES: Final = _words(
    quota_exhausted="""ModelQuotaExceededError BudgetExceededError PaymentRequiredError UsageLimitExceeded""",
    overloaded="OverloadedError ModelUnavailableError ModelOverloadedError BacklogFull",
    rate_limit="ModelRateLimitError ConcurrencyLimitExceeded",
    server_error="ModelServerError MidStreamFallbackError",
    connection="""ConnectionError ConnectError ReadError WriteError CloseError NetworkError ProtocolError
        RemoteProtocolError ProxyError SSLError TransportError APIConnectionError ModelConnectionError
        EndpointConnectionError ConnectionClosedError ProxyConnectionError HTTPClientError
        ResponseStreamingError MetadataRetrievalError ClientConnectionError ClientPayloadError
        ChunkedEncodingError IncompleteRead NewConnectionError NameResolutionError ConnectionClosed
        WebSocketConnectionClosedError socket.gaierror socket.herror LedgerUnavailable""",
    authentication="""CredentialsError ModelAuthenticationError NoCredentialsError PartialCredentialsError
        NoAuthTokenError TokenRetrievalError UnauthorizedSSOTokenError SSOTokenLoadError LoginRefreshRequired
        DefaultCredentialsError RefreshError""",
    permission="ModelPermissionDeniedError",
    content_policy="""ContentPolicyViolationError ContentFilterError ContentFilterFinishReasonError
        ModelRefusalError GuardrailRaisedException GuardrailInterventionNormalStringError
        BlockedPiiEntityError OpenAIModerationError""",
    context_length="""ContextWindowExceededError ContextOverflowError ModelContextWindowExceededError
        LengthFinishReasonError OutputTokenLimitExceeded""",
    invalid_request="""ModelRequestRejectedError ModelInvalidRequestError ModelNotFoundError
        UnsupportedParamsError LocalProtocolError UnsupportedProtocol InvalidURL MissingSchema InvalidSchema
        InvalidHeader NonHttpUrlClientError TooManyRedirects pydantic_ai.exceptions.UserError ParamValidationError
        botocore.exceptions.ValidationError NoRegionError UnknownServiceError EndpointResolutionError""",
    invalid_response="""APIResponseValidationError UnexpectedModelBehavior ModelRetry OutputParserException
        DecodingError ContentDecodingError InvalidJSONError ContentTypeError UnknownApiResponseError""",
)
"""Class names that say more than a status does. With dots: only that class."""

GENERAL_NAMES: Final = _words(
    rate_limit="RateLimitError TooManyRequestsError TooManyRequests",
    overloaded="ServiceUnavailableError ServiceUnavailable",
    server_error="InternalServerError ServerError BadGatewayError langchain_core.exceptions.ModelAPIError",
    connection="http.client.HTTPException ssl.SSLError",
    authentication="AuthenticationError UnauthorizedError",
    permission="PermissionDeniedError ForbiddenError PermissionError",
    invalid_request="BadRequestError NotFoundError UnprocessableEntityError InvalidRequestError",
    invalid_input="ValueError TypeError agentq.exceptions.InvalidValue",
    worker_lost="billiard.exceptions.WorkerLostError",
    timed_out="billiard.exceptions.SoftTimeLimitExceeded billiard.exceptions.TimeLimitExceeded",
    definition="agentq.exceptions.DefinitionError",
    invalid_arguments="agentq.exceptions.InvalidArguments",
    invalid_result="agentq.exceptions.InvalidResult",
    not_recorded="agentq.exceptions.NotRecorded",
)

TIMEOUT_ENDS: Final = ("Timeout", "TimeoutError", "TimeoutException", "TimedOut")
"""The endings of the names of timeouts, in every library that was read."""

PROVIDERS: Final = {
    "litellm": "litellm", "openai": "openai", "anthropic": "anthropic", "google": "google", "botocore": "aws",
    "mistralai": "mistral", "cohere": "cohere", "groq": "groq", "together": "together", "ollama": "ollama",
    "huggingface_hub": "huggingface", "xai_sdk": "xai", "pydantic_ai": "pydantic-ai",
    "langchain_core": "langchain", "httpx": "httpx", "httpx2": "httpx", "httpcore": "httpx",
    "httpcore2": "httpx", "requests": "requests", "urllib3": "urllib3", "aiohttp": "aiohttp",
}  # fmt: skip
"""The provider, by the package of the exception's classes; the first match wins."""
