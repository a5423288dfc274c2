"""Ids as people type them."""

from __future__ import annotations

import uuid

from agentq.exceptions import NotFound


def parse_id(text: str, noun: str) -> uuid.UUID:
    """Return the id that *text* is; raises NotFound where it is none."""
    try:
        return uuid.UUID(str(text))
    except ValueError:
        raise NotFound(f"{text!r} is no {noun} id; list them with: agentq {noun}s list") from None
