"""Text made safe to keep and to show: storable on every ledger, bounded, without secrets."""

from __future__ import annotations

import json
import re
from typing import Any

MASK = "***"

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|api[-_]?key|private[-_]?key|authorization|credential|cookie|session[-_]?id",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"""
    (?P<url>(?<=://)[^/\s:@]+:[^/\s@]+(?=@))          # user:password in a URL
    | \b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}                # OpenAI-, Anthropic- and Stripe-like keys
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                    # AWS access keys
    | \bgh[pousr]_[A-Za-z0-9]{20,}                     # GitHub tokens
    | \bxox[abposr]-[A-Za-z0-9-]{10,}                  # Slack tokens
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                # JSON web tokens
    | \bAIza[\w-]{30,}                                 # Google API keys
    | (?<=[Bb]earer\ )[\w.~+/=-]{8,}
    | -----BEGIN[ A-Z]*PRIVATE\ KEY-----.*?(?:-----END[ A-Z]*-----|\Z)
    | (?<=[?&])(?:key|token|api_key|access_token|sig)=[^&\s]+
    """,
    re.VERBOSE | re.DOTALL,
)
_ASSIGNED = re.compile(
    r"""(?P<name>(?:passw(?:or)?d|secret|token|api[-_]?key)["']?\s{0,3}[=:]\s{0,3})(?P<value>"[^"]*"|'[^']*'|[^\s,;&)}\]]+)""",
    re.IGNORECASE,
)


def is_secret_name(name: object) -> bool:
    """Say whether a parameter or key of this name should never be shown."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def clean(text: str, limit: int) -> str:
    """Return *text* storable on every ledger, with secrets masked, cut to *limit* characters.

    NUL and lone surrogates become U+FFFD: PostgreSQL refuses them, and then a failure could not be recorded.
    """
    # Cut before the patterns run, with room for a secret that crosses the cut, so that 50 MB cost nothing.
    head = text[: limit + 400]
    head = head.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    head = _SECRET_TEXT.sub(MASK, head)
    head = _ASSIGNED.sub(rf"\g<name>{MASK}", head)
    return head if len(head) <= limit and len(text) <= limit else f"{head[: limit - 1]}…"


def show(value: Any, limit: int = 80, *, name: object = None) -> str:
    """Return a short repr of *value* for messages and listings; masked where *name* is a secret's."""
    if is_secret_name(name) or type(value).__name__.startswith("Secret"):
        return MASK
    try:
        text = repr(value)
    except Exception as error:  # a repr of the user's may do anything
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return clean(text, limit)


def masked(value: Any, *, by_name: bool = True) -> Any:
    """Return JSON-able data with secrets in texts masked, and, *by_name*, the values of secret-looking keys."""
    if isinstance(value, dict):
        return {
            key: MASK if by_name and is_secret_name(key) else masked(item, by_name=by_name)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, by_name=by_name) for item in value]
    return _SECRET_TEXT.sub(MASK, value) if isinstance(value, str) else value


def shown(text: str | None) -> Any:
    """Return stored JSON as data with secrets masked."""
    return None if text is None else masked(json.loads(text))
