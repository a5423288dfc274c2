"""An exception as policies see it, without an import of its package: names, status, codes, texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentq.policies.errors.untrusted import (
    attribute,
    class_names,
    entries,
    entry,
    first_known,
    is_a,
    lower_headers,
    message_of,
    parsed,
    text_of,
    whole,
)

_LONGEST_TEXT = 4_400
"""More than what is kept of it, so that a secret that crosses the cut is seen whole, and masked."""
_CODE_ATTRIBUTES = ("provider_error_code", "error_code", "code", "provider_error_type", "type", "status")
_CODE_ENTRIES = ("error_code", "code", "type", "status", "Code", "__type", "reason")
_REQUEST_IDS = ("request-id", "x-request-id", "x-amzn-requestid", "apim-request-id", "x-goog-request-id")


@dataclass(frozen=True, slots=True)
class ExceptionView:
    """One exception as seen from outside; ``text`` is message and body in lower case, ``body`` JSON or None."""

    names: tuple[str, ...]
    status: int | None
    codes: tuple[str, ...]
    message: str
    text: str
    headers: dict[str, str]
    body: dict[str, Any] | None
    request_id: str | None
    retry_after: object
    vendor: str | None


def view_of(error: BaseException) -> ExceptionView:
    """Look at one exception; never raises, never reads from a network, never runs long."""
    response = attribute(error, "response")
    answer = response if is_a(response, dict) else None  # botocore's
    raw = _raw_body(error, response)
    body = first_known(answer, parsed(attribute(error, "body")), parsed(attribute(error, "details")), parsed(raw))
    metadata = entry(answer, "ResponseMetadata")
    headers = lower_headers(
        entry(metadata, "HTTPHeaders"), attribute(response, "headers"), attribute(error, "headers")
    )
    message = message_of(error, _LONGEST_TEXT)
    named = (attribute(error, "request_id"), entry(metadata, "RequestId"), *map(headers.get, _REQUEST_IDS))
    return ExceptionView(
        names=class_names(error),
        status=_status(error, response, metadata),
        codes=_codes(error, body, headers),
        message=message,
        text=f"{message}\n{_excerpt(raw)}".lower(),
        headers=headers,
        body=body,
        request_id=next((text for text in map(text_of, named) if text), None),
        retry_after=attribute(error, "retry_after"),
        vendor=text_of(attribute(error, "llm_provider")) or None,
    )


def _raw_body(error: BaseException, response: object) -> object:
    """Return the body as it came; of a response only what was read already, never from the network."""
    for candidate in (attribute(error, "body"), attribute(response, "_content"), attribute(response, "_body")):
        if is_a(candidate, str, bytes):
            return candidate
    return None


def _excerpt(raw: object) -> str:
    if is_a(raw, bytes) and isinstance(raw, bytes):
        return bytes.__getitem__(raw, slice(_LONGEST_TEXT)).decode("utf-8", "replace")
    return text_of(raw, _LONGEST_TEXT) or ""


def _status(error: BaseException, response: object, metadata: object) -> int | None:
    sure = (
        attribute(error, "status_code"),
        attribute(response, "status_code"),
        attribute(response, "status"),
        entry(metadata, "HTTPStatusCode"),
    )
    found = [number for number in map(whole, sure) if number is not None and 100 <= number < 600]
    # Elsewhere a small number may be anything, an exit code for example.
    names = [name for name in ("http_status", "status", "code") if not _is_warned_of(error, name)]
    likely = (whole(attribute(error, name)) for name in names)
    found += [number for number in likely if number is not None and 400 <= number < 600]
    return found[0] if found and not is_a(error, SystemExit) else None


def _is_warned_of(error: BaseException, name: str) -> bool:
    """Say whether to read this attribute gives a warning: aiohttp's own status under an old name."""
    return name == "code" and class_names(error)[0].startswith("aiohttp.")


def _codes(error: BaseException, body: object, headers: dict[str, str]) -> tuple[str, ...]:
    """Return all that may be a provider's code, the most precise first."""
    inner = first_known(entry(body, "error"), entry(body, "Error"))
    parts = [inner if is_a(inner, dict) else None, body]
    details = entries(entry(inner, "details")) or entries(entry(body, "details"))
    found: list[object] = [entry(detail, "reason") for detail in details]
    for detail in details:
        found += [entry(violation, "quotaId") for violation in entries(entry(detail, "violations"))]
    found += [entry(part, "details", "error_code") for part in parts]
    found += [entry(part, "innererror", "code") for part in parts]
    found.append(_prefixed("rate_limit_type", attribute(error, "rate_limit_type")))
    found += [attribute(error, name) for name in _CODE_ATTRIBUTES if not _is_warned_of(error, name)]
    found += [entry(part, name) for part in parts for name in _CODE_ENTRIES]
    found += [inner, headers.get("x-amzn-errortype", "").partition(":")[0]]
    texts = [text_of(code, 100) for code in found]
    by_word = {text.lower(): text for text in reversed(texts) if text and _is_code(text)}
    return tuple(reversed(by_word.values()))


def _prefixed(prefix: str, value: object) -> str | None:
    text = text_of(value, 60)
    return f"{prefix}:{text}" if text else None


def _is_code(text: str) -> bool:
    return len(text) < 100 and not text.isdigit() and not any(map(str.isspace, text))
